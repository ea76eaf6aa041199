"""What this machine remembers of a folder: for each leaf of its last manifest, what stat said of the files in it.

A run of the scan that equals a block means that the leaf is unchanged, and no file of it is opened. The file, which
`state_writer` replaces atomically, is a sequence of blocks, copied where they did not change, ended by a count.

A modification time that was not older than the reading by a clock tick is not trusted (a later write could leave it as
it is, and the size as well), so such a row is remembered with a time that equals nothing.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from studio_cas.codec import zstd
from studio_cas.errors import CorruptError
from studio_cas.formats import leaf
from studio_cas.formats.leaf import Place
from studio_cas.formats.root import LeafRow
from studio_cas.ids import PACK_ID_SIZE, LeafId, PackId, digest
from studio_cas.worktree import steady
from studio_cas.worktree.scan import Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from studio_cas.store.store import Store

MAGIC = b"SCST0003"
END = b"SCSTEND\0"
# rows, length of paths, packs (id, bytes used), first path, stored body, plain body; leaf: id, entries, size, files,
# place; flags; checksums of the body, and of all before it
HEADER = struct.Struct("<8sIIIIII32sIQI16sIIIIBB32s32s")
BLOCK = b"SCSTBLK\0"
UNTRUSTED = -1
USED = struct.Struct(f"<{PACK_ID_SIZE}sQ")
FOLDER = leaf.EntryKind.FOLDER
INSIDE, PARTIAL = 1, 2


class KnownRows(Sequence[Row]):
    """The rows of one block, read when one of them is asked for.

    Compared with rows of a scan, which is what a quiet capture does with nearly all of them, they are not: those are
    laid out as these are.
    """

    __slots__ = ("_columns", "_count", "_paths_length", "_rows")

    def __init__(self, columns: bytes, count: int, paths_length: int) -> None:
        self._columns = columns
        self._count = count
        self._paths_length = paths_length
        self._rows: list[Row] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if self._rows is None:
            self._rows = _decode_rows(self._columns, self._count, self._paths_length)
        return self._rows[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self[:])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, list):
            return NotImplemented
        if len(other) != self._count or not self._count:
            return len(other) == self._count
        paths, kinds, sizes, *times, inodes, devices = zip(*other, strict=True)
        try:
            expected = b"".join(
                (
                    bytes(kinds),
                    array("Q", sizes).tobytes(),
                    *(array("q", moments).tobytes() for moments in times),
                    array("Q", inodes).tobytes(),
                    array("Q", devices).tobytes(),
                    b"\0".join(paths),
                )
            )
        except OverflowError:  # a time that is stored as another one: it equals nothing
            return False
        return len(expected) == 41 * self._count + self._paths_length and self._columns.startswith(expected)

    __hash__ = None  # type: ignore[assignment]  # as of a list


@dataclass(frozen=True, slots=True)
class Block:
    """One leaf: its row in the root, its stat rows, and where its bytes stand in the state file.

    `packs` are those that it uses, with the stored bytes that it uses of each.
    `partial` marks a leaf that a pull of a part made up: its entries hold, but it is no leaf of any manifest.
    """

    leaf: LeafRow
    files: int
    rows: KnownRows
    packs: dict[PackId, int]
    begins_inside: bool
    partial: bool
    start: int
    end: int
    body: int
    plain_size: int
    checksum: bytes


def path_of(store: Store, root: Path) -> Path:
    """Where the state of the folder or file `root` is kept."""
    return store.states_dir / f"{digest(os.fsencode(root)).hex()[:32]}.state"


def trusted(row: Row, now_ns: int) -> Row:
    """`row`, or a row that equals nothing where its times are too young to trust."""
    if steady.touched(row.mtime_ns, row.ctime_ns, now_ns) > now_ns - steady.TICK_NS and row.kind != FOLDER:
        return row._replace(mtime_ns=UNTRUSTED)
    return row


class StateReader:
    """The blocks of a state file, in order; stops at the first that is damaged. None where there is no path or file."""

    def __init__(self, path: Path | None) -> None:
        self._file: BinaryIO | None = None
        try:
            self._file = path.open("rb") if path else None
            if self._file and self._file.read(len(MAGIC)) != MAGIC:
                self.close()
        except OSError:
            self._file = None
        self.complete = False
        self.length = 0
        self._size = os.fstat(self._file.fileno()).st_size if self._file else 0

    def blocks(self) -> Iterator[Block]:
        """Blocks in order of path. `complete` is true once the last one was given."""
        with suppress(OSError):  # a disk that fails is a cache that knows less
            if self._file is not None:
                self._file.seek(len(MAGIC))
            yield from self._blocks()

    def _blocks(self) -> Iterator[Block]:
        file = self._file
        while file is not None:
            start = file.tell()
            header = file.read(HEADER.size)
            if header.startswith(END):
                self.complete = True
                self.length = start - len(MAGIC)
                return
            block = self._block(file, header, start)
            if block is None:
                return
            yield block
            file.seek(block.end)

    def _block(self, file: BinaryIO, header: bytes, start: int) -> Block | None:
        if len(header) != HEADER.size or not header.startswith(BLOCK):
            return None
        (_, count, paths_length, pack_count, first_length, stored, plain, leaf_id, entries, size, files) = (
            HEADER.unpack(header)[:11]
        )
        pack, offset, place_stored, place_plain, codec, placed, flags, body_sum, checksum = HEADER.unpack(header)[11:]
        length = 41 * count + paths_length + USED.size * pack_count + first_length
        if start + HEADER.size + length + stored > self._size:
            return None
        columns = file.read(length)
        if len(columns) != length or digest(header[:-32] + columns) != checksum:
            return None
        rows = KnownRows(columns, count, paths_length)
        at = 41 * count + paths_length
        end = at + USED.size * pack_count
        packs = {PackId(used): size for used, size in USED.iter_unpack(columns[at:end])}
        place = Place(PackId(pack), offset, place_stored, place_plain, 0, codec) if placed else None
        row = LeafRow(LeafId(leaf_id), entries, size, columns[end:], place)
        body = start + HEADER.size + length
        return Block(
            row,
            files,
            rows,
            packs,
            bool(flags & INSIDE),
            bool(flags & PARTIAL),
            start,
            body + stored,
            body,
            plain,
            body_sum,
        )

    def leaf_object(self, block: Block) -> bytes:
        """The plain leaf object of `block`. Raises CorruptError."""
        stored = self._read(block.body, block.end - block.body)
        if digest(stored) != block.checksum:
            message = "the stat cache is damaged"
            raise CorruptError(message)
        return zstd.decompress(stored, block.plain_size)

    def raw(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes [start, end) of the file, in pieces."""
        while start < end:
            piece = self._read(start, min(end - start, 1 << 20))
            if not piece:
                return
            yield piece
            start += len(piece)

    def _read(self, offset: int, length: int) -> bytes:
        if self._file is None:
            return b""
        try:
            return os.pread(self._file.fileno(), length, offset)
        except OSError:
            return b""

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = None


def _decode_rows(columns: bytes, count: int, paths_length: int) -> list[Row]:
    if not count:
        return []
    kinds = columns[:count]
    numbers = array("Q", columns[count : count + 8 * count])
    times = [array("q", columns[count + 8 * count * step : count + 8 * count * (step + 1)]) for step in (1, 2)]
    others = [array("Q", columns[count + 8 * count * step : count + 8 * count * (step + 1)]) for step in (3, 4)]
    paths = columns[41 * count : 41 * count + paths_length].split(b"\0")
    return list(map(Row, paths, kinds, numbers, *times, *others))
