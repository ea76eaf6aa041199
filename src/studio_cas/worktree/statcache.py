"""What this machine remembers of a folder: for each leaf of its last manifest, what stat said of the files in it.

A run of the scan that equals a block means that the leaf is unchanged, and no file of it is opened. The file is a
sequence of blocks, copied verbatim where they did not change, ended by a count; it is replaced atomically.

A modification time that was not older than the reading by a clock tick is not trusted (a later write could leave it
as it
is, and the size as well), so such a row is remembered with a time that equals nothing.
"""

from __future__ import annotations

import os
import struct
import time
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
    from collections.abc import Iterator, Mapping
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
ABANDONED_AFTER = 86_400.0  # seconds
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


class Nothing:
    """What is remembered of a tree that is in no folder of this machine."""

    def reuse(self, block: Block) -> None:
        """Forget it."""

    def add(
        self,
        row: LeafRow,
        files: int,
        rows: Sequence[Row],
        packs: Mapping[PackId, int],
        stored: bytes,
        plain: int,
        flags: int,
    ) -> None:
        """Forget it."""


class StateWriter:
    """Writes the next state beside the old one. `commit` replaces it; without, nothing changes."""

    def __init__(self, path: Path, old: StateReader) -> None:
        self._path = path
        self._old = old
        self._reused: list[tuple[int, int]] = []
        self._file: BinaryIO | None = None
        self._failed = False
        self._temporary = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")

    def reuse(self, block: Block) -> None:
        """Keep a block of the old state as it is."""
        if self._reused and self._reused[-1][1] == block.start:
            self._reused[-1] = (self._reused[-1][0], block.end)
        else:
            self._reused.append((block.start, block.end))

    def add(
        self,
        row: LeafRow,
        files: int,
        rows: Sequence[Row],
        packs: Mapping[PackId, int],
        stored: bytes,
        plain: int,
        flags: int,
    ) -> None:
        """A new block. `stored` is the zstd frame of the leaf object of `plain` bytes."""
        self._copy_reused()
        if self._file is None:
            return
        columns = b"".join(
            (
                bytes(entry.kind for entry in rows),
                array("Q", (entry.size for entry in rows)).tobytes(),
                leaf.times([entry.mtime_ns for entry in rows]).tobytes(),
                leaf.times([entry.ctime_ns for entry in rows]).tobytes(),
                array("Q", (entry.inode for entry in rows)).tobytes(),
                array("Q", (entry.device for entry in rows)).tobytes(),
                b"\0".join(entry.path for entry in rows),
                *(USED.pack(pack, size) for pack, size in sorted(packs.items())),
                row.first_path,
            )
        )
        paths_length = sum(len(entry.path) for entry in rows) + max(0, len(rows) - 1)
        place = row.place
        header = HEADER.pack(
            BLOCK,
            len(rows),
            paths_length,
            len(packs),
            len(row.first_path),
            len(stored),
            plain,
            row.leaf_id,
            row.entries,
            row.size,
            files,
            *(place[:4] if place else (bytes(PACK_ID_SIZE), 0, 0, 0)),
            place.codec if place else 0,
            place is not None,
            flags,
            digest(stored),
            bytes(32),
        )
        self._write(header[:-32] + digest(header[:-32] + columns) + columns + stored)

    def _copy_reused(self) -> None:
        if self._file is None and not self._failed:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                _remove_abandoned(self._path)
                self._file = self._temporary.open("wb")
            except OSError:
                self._failed = True
            self._write(MAGIC)
        for start, end in self._reused:
            for piece in self._old.raw(start, end):
                self._write(piece)
        self._reused = []

    def _write(self, data: bytes) -> None:
        """Write, or give up: without a state the next capture reads more, and no more than that."""
        if self._file is None:
            return
        try:
            self._file.write(data)
        except OSError:
            self._failed = True
            self.abandon()

    def successor(self) -> tuple[StateReader, StateWriter]:
        """End what was written: what reads it, and what writes the state that is committed in its place.

        The reader has no block where the disk failed. This writer is abandoned when the other is done.
        """
        self._copy_reused()
        self._write(END)
        reader = StateReader(None)
        with suppress(OSError):
            if self._file is not None:
                self._file.flush()
                reader = StateReader(self._temporary)
        return reader, StateWriter(self._path, reader)

    def commit(self) -> None:
        """Replace the old state, unless nothing changed."""
        if (
            self._file is None
            and self._old.complete
            and sum(end - start for start, end in self._reused) == self._old.length
        ):
            return
        try:
            self._copy_reused()
            self._write(END)
            if self._file is not None:
                self._file.close()
                self._temporary.replace(self._path)
                self._file = None
        except OSError:
            self.abandon()

    def abandon(self) -> None:
        """Drop what was written."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()
            with suppress(OSError):
                self._temporary.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Remove what killed writers of the state `path` left more than a day ago."""
    oldest = time.time() - ABANDONED_AFTER
    for left in path.parent.glob(f"{path.name}.*"):
        with suppress(OSError):
            if left.stat().st_mtime < oldest:
                left.unlink()
