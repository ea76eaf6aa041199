"""A root: the list of leaves. The BLAKE3 of its logical part is the manifest id. docs/format.md has the byte table."""

from __future__ import annotations

import base64
import struct
from array import array
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from studio_cas.codec import zstd
from studio_cas.errors import CorruptError
from studio_cas.formats.leaf import Place
from studio_cas.ids import DIGEST_SIZE, PACK_ID_SIZE, LeafId, ManifestId, PackId, digest

if TYPE_CHECKING:
    from studio_cas.ids import Buffer

MAGIC = b"SCR1"
LOGICAL = struct.Struct("<4sIIQQI")
U32 = struct.Struct("<I")
IS_FILE = 1
INLINE_LIMIT = 32 * 1024
EMBEDDED_LIMIT = 64 * INLINE_LIMIT  # a reader's: what is embedded stays below twice INLINE_LIMIT


@dataclass(frozen=True, slots=True)
class LeafRow:
    """One leaf as the root knows it. `place` is None where the leaf is embedded in the version record."""

    leaf_id: LeafId
    entries: int
    size: int
    first_path: bytes
    place: Place | None


@dataclass(frozen=True, slots=True)
class Root:
    """`size` in plain bytes, `files` counts regular files; `packs`: every data pack that a leaf points into, sorted."""

    is_file: bool
    files: int
    size: int
    leaves: tuple[LeafRow, ...]
    packs: tuple[PackId, ...]

    def logical(self) -> bytes:
        """The bytes whose hash is the manifest id."""
        first_paths = b"\0".join(row.first_path for row in self.leaves)
        return b"".join(
            (
                LOGICAL.pack(
                    MAGIC, IS_FILE if self.is_file else 0, len(self.leaves), self.files, self.size, len(first_paths)
                ),
                *(row.leaf_id for row in self.leaves),
                array("I", (row.entries for row in self.leaves)).tobytes(),
                array("Q", (row.size for row in self.leaves)).tobytes(),
                first_paths,
            )
        )

    def manifest_id(self) -> ManifestId:
        """BLAKE3 of the logical part."""
        return ManifestId(digest(self.logical()))


def encode(root: Root) -> bytes:
    """The object to store: u32 length of the logical part, that part, then packs and the places of the leaves."""
    logical = root.logical()
    trees = {
        pack: index for index, pack in enumerate(dict.fromkeys(row.place.pack for row in root.leaves if row.place))
    }
    columns: list[array[int]] = [array("I") for _ in range(5)]
    for row in root.leaves:
        values = (trees[row.place.pack], *row.place[1:4], row.place.codec) if row.place else (0xFFFFFFFF, 0, 0, 0, 0)
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    return b"".join(
        (
            U32.pack(len(logical)),
            logical,
            U32.pack(len(root.packs)),
            *root.packs,
            U32.pack(len(trees)),
            *trees,
            *(column.tobytes() for column in columns),
        )
    )


def decode(data: Buffer, expected: ManifestId) -> Root:
    """Raises CorruptError when `data` is not the root of manifest `expected`."""
    try:
        return _decode(memoryview(data), expected)
    except (struct.error, ValueError, IndexError) as error:
        message = f"the root of manifest {expected.hex()} is damaged: {error}"
        raise CorruptError(message) from error


def _decode(view: memoryview, expected: ManifestId) -> Root:
    (length,) = U32.unpack_from(view)
    logical = view[4 : 4 + length]
    if digest(logical) != expected:
        message = "its hash differs"
        raise ValueError(message)
    magic, flags, count, files, size, paths_length = LOGICAL.unpack_from(logical)
    at = LOGICAL.size
    ids, at = bytes(logical[at : at + DIGEST_SIZE * count]), at + DIGEST_SIZE * count
    entries, at = array("I", bytes(logical[at : at + 4 * count])), at + 4 * count
    sizes, at = array("Q", bytes(logical[at : at + 8 * count])), at + 8 * count
    paths = bytes(logical[at : at + paths_length]).split(b"\0", count) if count else []
    if magic != MAGIC or len(paths) != count or len(sizes) != count or at + paths_length != length:
        message = "its columns do not fit together"
        raise ValueError(message)
    at = 4 + length
    packs, at = _pack_ids(view, at)
    trees, at = _pack_ids(view, at)
    if at + 20 * count > len(view):
        message = "it ends early"
        raise ValueError(message)
    columns = [array("I", bytes(view[at + 4 * count * row : at + 4 * count * (row + 1)])) for row in range(5)]
    rows = [
        LeafRow(
            LeafId(ids[DIGEST_SIZE * row : DIGEST_SIZE * (row + 1)]),
            entries[row],
            sizes[row],
            paths[row],
            None
            if columns[0][row] == 0xFFFFFFFF
            else Place(trees[columns[0][row]], columns[1][row], columns[2][row], columns[3][row], 0, columns[4][row]),
        )
        for row in range(count)
    ]
    return Root(bool(flags & IS_FILE), files, size, tuple(rows), packs)


def _pack_ids(view: memoryview, at: int) -> tuple[tuple[PackId, ...], int]:
    (count,) = U32.unpack_from(view, at)
    at += 4
    end = at + PACK_ID_SIZE * count
    if end > len(view):
        message = "it ends early"
        raise ValueError(message)
    raw = bytes(view[at:end])
    return tuple(PackId(raw[index : index + PACK_ID_SIZE]) for index in range(0, len(raw), PACK_ID_SIZE)), end


def embed(root: bytes, leaves: list[bytes]) -> str:
    """A root and the leaves that it does not place, as text for a version record: u32 length and bytes each; zstd."""
    plain = b"".join(part for item in (root, *leaves) for part in (U32.pack(len(item)), item))
    return base64.b64encode(zstd.compress(plain, zstd.DENSE_LEVEL, checksum=True)).decode()


def extract(text: str, plain_size: int) -> list[bytes]:
    """What `embed` was given, root first. Raises CorruptError."""
    if not 4 <= plain_size <= EMBEDDED_LIMIT:
        message = f"a version record embeds a tree of {plain_size} bytes, beyond any limit"
        raise CorruptError(message)
    try:
        plain = zstd.decompress(base64.b64decode(text, validate=True), plain_size)
        return _parts(plain)
    except (struct.error, ValueError) as error:
        message = f"the tree in a version record is damaged: {error}"
        raise CorruptError(message) from error


def _parts(plain: bytes) -> list[bytes]:
    starts = [0]
    while starts[-1] < len(plain):
        starts.append(starts[-1] + 4 + U32.unpack_from(plain, starts[-1])[0])
    if starts[-1] != len(plain):
        message = "its parts do not fit together"
        raise ValueError(message)
    return [plain[start + 4 : end] for start, end in pairwise(starts)]
