"""A leaf: a sorted run of tree entries, in columns. docs/format.md has the byte table.

The logical part (its BLAKE3 is the leaf id) holds attributes, sizes, chunk ids, paths and literals. The places part,
outside the id, says in which pack each chunk lies, and when each file was modified. A literal is the target of a
symlink, or the bytes of a file small enough to sit inline.

A file of very many chunks is cut into parts, each an entry with the same path: all but the last carry CONTINUED,
all but the first CONTINUATION, and a leaf ends after each CONTINUED entry.
"""

from __future__ import annotations

import re
import struct
from array import array
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

from studio_cas.errors import CorruptError, RefusedError
from studio_cas.ids import DIGEST_SIZE, PACK_ID_SIZE, LeafId, PackId, digest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from studio_cas.ids import Buffer

MAGIC = b"SCL1"
COUNTS = struct.Struct("<4sIIII")
U32 = struct.Struct("<I")
KIND_MASK = 0x0F
CONTINUED = 0x10
CONTINUATION = 0x20
PROFILE_SHIFT = 6
# Cuts: a leaf ends after an entry whose path has these bits of its CRC-32 all set, and at the limits below.
CUT_MASK = 0xFFF
CUT_MINIMUM = 256
ENTRY_LIMIT = 16 * 1024
CHUNK_LIMIT = 16 * 1024
LITERAL_LIMIT = 4 * 1024 * 1024
# A file part ends after a chunk whose id ends in these bits, within these counts.
PART_MASK = 0xFFF
PART_MINIMUM = 1024
PART_LIMIT = 8 * 1024
OBJECT_LIMIT = 256 * 1024 * 1024
CHUNK_SIZE_LIMIT = 16 * 1024 * 1024

_UNSAFE = re.compile(rb"(?:\A|[/\0])\.{0,2}(?=[/\0]|\Z)")


class EntryKind(IntEnum):
    """What an entry is; the low four bits of its attribute byte."""

    FOLDER = 0
    FILE = 1
    EXECUTABLE = 2
    LINK = 3


class Place(NamedTuple):
    """Where a stored chunk lies: a frame of a pack, and an offset inside the frame's plain bytes."""

    pack: PackId
    offset: int
    stored: int
    plain: int
    inner: int
    codec: int


_KNOWN = bytes(attribute for attribute in range(256) if attribute & KIND_MASK <= EntryKind.LINK)


@dataclass(slots=True)
class Leaf:
    """Columns of entries and of their chunks; built by appending, then encoded once."""

    paths: list[bytes] = field(default_factory=list)
    attributes: bytearray = field(default_factory=bytearray)
    sizes: array[int] = field(default_factory=lambda: array("Q"))
    counts: array[int] = field(default_factory=lambda: array("I"))
    literals: list[bytes] = field(default_factory=list)
    mtimes: array[int] = field(default_factory=lambda: array("q"))
    lengths: array[int] = field(default_factory=lambda: array("I"))
    ids: list[bytes] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)

    def logical(self) -> bytes:
        """The bytes whose hash is the leaf id."""
        literals = b"".join(self.literals)
        paths = b"\0".join(self.paths)
        return b"".join(
            (
                COUNTS.pack(MAGIC, len(self.paths), len(self.ids), len(paths), len(literals)),
                self.attributes,
                self.sizes.tobytes(),
                self.counts.tobytes(),
                array("I", map(len, self.literals)).tobytes(),
                self.lengths.tobytes(),
                b"".join(self.ids),
                paths,
                literals,
            )
        )

    def placed(self) -> bytes:
        """The part that says where and when."""
        packs = {pack: index for index, pack in enumerate(dict.fromkeys(place.pack for place in self.places))}
        columns = list(zip(*self.places, strict=True)) or [(), (), (), (), (), ()]
        return b"".join(
            (
                U32.pack(len(packs)),
                *packs,
                self.mtimes.tobytes(),
                array("I", (packs[pack] for pack in columns[0])).tobytes(),
                *(array("I", column).tobytes() for column in columns[1:5]),
                bytes(columns[5]),
            )
        )

    def packs(self) -> dict[PackId, int]:
        """The packs that its chunks lie in, and how many stored bytes of each it uses."""
        frames = {place[:2]: place.stored for place in self.places}
        used: dict[PackId, int] = {}
        for (pack, _), stored in frames.items():
            used[pack] = used.get(pack, 0) + stored
        return used

    def chunk_slices(self) -> Iterable[slice]:
        """For each entry, the slice of the chunk columns that is its own."""
        ends = accumulate(self.counts, initial=0)
        return (slice(start, end) for start, end in pairwise(ends))


def times(nanoseconds: list[int]) -> array[int]:
    """Modification times as they are stored: those before 1677 or after 2262 become the first or last that fits."""
    try:
        return array("q", nanoseconds)
    except OverflowError:
        return array("q", (max(-(2**63), min(moment, 2**63 - 1)) for moment in nanoseconds))


def encode(leaf: Leaf) -> tuple[LeafId, bytes]:
    """The leaf id, and the object to store: u32 length of the logical part, that part, the places part."""
    logical = leaf.logical()
    return LeafId(digest(logical)), U32.pack(len(logical)) + logical + leaf.placed()


def decode(data: Buffer, expected: LeafId) -> Leaf:
    """Raises CorruptError when `data` is not the leaf `expected`, RefusedError when its paths are unsafe."""
    view = memoryview(data)
    try:
        (logical_length,) = U32.unpack_from(view)
        logical = view[4 : 4 + logical_length]
        if digest(logical) != expected:
            message = f"a leaf of the manifest is damaged: {expected.hex()} is expected"
            raise CorruptError(message)
        leaf = _decode_logical(logical)
        _decode_places(leaf, view[4 + logical_length :])
    except (struct.error, ValueError, IndexError) as error:
        message = f"a leaf of the manifest is damaged: {error}"
        raise CorruptError(message) from error
    return leaf


def _decode_logical(view: memoryview) -> Leaf:
    magic, entries, chunks, paths_length, literals_length = COUNTS.unpack_from(view)
    if entries > ENTRY_LIMIT or chunks > CHUNK_LIMIT + PART_LIMIT:
        message = f"a leaf of {entries} entries and {chunks} chunks is beyond any limit"
        raise RefusedError(message)
    reader = _Columns(view, COUNTS.size)
    leaf = Leaf()
    leaf.attributes = bytearray(reader.take(entries))
    leaf.sizes.frombytes(reader.take(8 * entries))
    leaf.counts.frombytes(reader.take(4 * entries))
    literal_lengths = array("I", bytes(reader.take(4 * entries)))
    leaf.lengths.frombytes(reader.take(4 * chunks))
    ids = bytes(reader.take(DIGEST_SIZE * chunks))
    paths = bytes(reader.take(paths_length))
    literals = bytes(reader.take(literals_length))
    leaf.ids = [ids[at : at + DIGEST_SIZE] for at in range(0, len(ids), DIGEST_SIZE)]
    leaf.paths = paths.split(b"\0", entries) if entries else []  # of a million names no more than were announced
    ends = list(accumulate(literal_lengths, initial=0))
    leaf.literals = [literals[start:end] for start, end in pairwise(ends)]
    if (
        magic != MAGIC
        or len(leaf.paths) != entries
        or ends[-1] != literals_length
        or sum(leaf.counts) != chunks
        or max(leaf.lengths, default=0) > CHUNK_SIZE_LIMIT
    ):
        message = "its columns do not fit together"
        raise ValueError(message)
    if leaf.attributes.translate(None, delete=_KNOWN):
        message = "the manifest has an entry of unknown kind: upgrade studio_cas to read it"
        raise CorruptError(message)
    if entries and _UNSAFE.search(paths):
        message = "the manifest names an unsafe path (absolute, empty, or with '..'); nothing was written"
        raise RefusedError(message)
    return leaf


def _decode_places(leaf: Leaf, view: memoryview) -> None:
    (pack_count,) = U32.unpack_from(view)
    reader = _Columns(view, U32.size)
    chunks = len(leaf.ids)
    if pack_count > chunks:
        message = f"{pack_count} packs are more than its {chunks} chunks lie in"
        raise ValueError(message)
    packs = bytes(reader.take(PACK_ID_SIZE * pack_count))
    ids = [PackId(packs[at : at + PACK_ID_SIZE]) for at in range(0, len(packs), PACK_ID_SIZE)]
    leaf.mtimes.frombytes(reader.take(8 * len(leaf.paths)))
    columns = [array("I", bytes(reader.take(4 * chunks))).tolist() for _ in range(5)]
    codecs = bytes(reader.take(chunks))
    pack_column = [ids[index] for index in columns[0]]
    leaf.places = list(map(Place, pack_column, *columns[1:], codecs))


class _Columns:
    """Takes one column after another, and never beyond the end."""

    def __init__(self, view: memoryview, at: int) -> None:
        self._view = view
        self._at = at

    def take(self, length: int) -> memoryview:
        end = self._at + length
        if end > len(self._view):
            message = "it ends early"
            raise ValueError(message)
        column = self._view[self._at : end]
        self._at = end
        return column


class PathOrder:
    """Checks, entry after entry, that paths ascend by component and that each lies in a folder that came before.

    So no file is ever written through a symlink, and no path is written twice. Only a file has parts, and they follow
    one another.
    """

    def __init__(self) -> None:
        self._folders: list[bytes] = [b""]
        self._last: bytes | None = None
        self._kind = 0
        self._continued = False

    def check(self, path: bytes, attribute: int) -> None:
        """Raises RefusedError."""
        kind = attribute & KIND_MASK
        if self._continued or attribute & CONTINUATION:
            goes_on = self._continued and bool(attribute & CONTINUATION)
            sound = goes_on and (path, kind) == (self._last, self._kind)
        else:
            sound = self._follows(path)
        continued = bool(attribute & CONTINUED)
        if not sound or (continued and kind not in (EntryKind.FILE, EntryKind.EXECUTABLE)):
            message = f"the manifest names {path!r} out of order or outside a folder; nothing more was written"
            raise RefusedError(message)
        if kind == EntryKind.FOLDER:
            self._folders.append(path)
        self._last, self._kind, self._continued = path, kind, continued

    def _follows(self, path: bytes) -> bool:
        """Whether the path comes after the last, in a folder that was named."""
        folders = self._folders
        parent = path.rpartition(b"/")[0]
        while parent != folders[-1] and len(folders) > 1:
            folders.pop()
        ascending = self._last is None or path.replace(b"/", b"\0") > self._last.replace(b"/", b"\0")
        return parent == folders[-1] and ascending
