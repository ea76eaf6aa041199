"""Small files that are new, read ahead of the walk by the compiled library, many at once, and stored by a worker.

Only a file that is read whole, is as the scan saw it, and that nobody has open for writing, is given from here. Any
other is left to `reading`, which tries again, waits, and says what is wrong; so is everything where the library is not
in use, or the system grants no read leases.
"""

from __future__ import annotations

import struct
import threading
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from studio_cas import native
from studio_cas.chunking.profile import APPEND_SUFFIXES, SQLITE_MAGIC
from studio_cas.store.chunks import Chunks
from studio_cas.store.ingest import GROUP_SIZE
from studio_cas.worktree import sqlite, steady

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from studio_cas.formats.store_config import StoreConfig
    from studio_cas.ids import Buffer
    from studio_cas.store.chunks import Group
    from studio_cas.store.ingest import Ingest
    from studio_cas.worktree.scan import Columns

AHEAD = 1024  # rows that are looked at, and at most wait, for one round of batches
LOW = 256  # rows that still wait when the next round begins
FILES = 256  # files of a batch
LEAST = GROUP_SIZE // 4  # bytes of a batch that gets a frame of its own; a smaller one shares those of other files
OTHERS = (*sqlite.SUFFIXES, *APPEND_SUFFIXES, b"output")  # read otherwise, or nearly always
LATEST = 2**63 - 1  # nanoseconds: in 2262
_ROW = struct.Struct("=4q")  # studio_row of files.c
_own = threading.local()


class Stored(NamedTuple):
    """A small file that was stored: as a literal, or as a chunk that has its place or will get one."""

    literal: bytes
    chunks: Chunks | None


class _Read(NamedTuple):
    """What a worker read of a batch, by position: `small` lie in `group`, or where that is None are `pieces`."""

    literals: dict[int, bytes]
    small: list[int]
    group: Group | None
    pieces: list[bytes]
    leases: bool


class _Batch:
    """Files that are read together. `found`, by path, is there when the worker's result was taken."""

    def __init__(self, rows: list[Columns], future: Future[_Read]) -> None:
        self.rows = rows
        self.future = future
        self.found: dict[bytes, Stored] | None = None


class Batches:
    """Reads small files below the open folder `root`; `waiting` are the paths of those that were begun."""

    def __init__(self, root: int, config: StoreConfig, ingest: Ingest) -> None:
        self._root = root
        self._limit = config.chunking.minimum
        self._inline = config.inline_limit
        self._ingest = ingest
        self._library = native.library()
        self.waiting: dict[bytes, _Batch] = {}
        self.bytes_read = 0

    @property
    def wanted(self) -> bool:
        """Whether another round of batches may begin."""
        return self._library is not None and len(self.waiting) < LOW

    def begin(self, rows: Iterable[Columns], learn: Callable[[bytes], None] | None) -> None:
        """Read those of the files in `rows`, none of which is known, that are of the kind that is read here.

        `learn` is called with the path of each.
        """
        batch: list[Columns] = []
        total = 0
        for row in rows:
            path, kind, size, mtime_ns, ctime_ns = row[:5]
            if size >= self._limit or kind not in (1, 2) or path.endswith(OTHERS) or b"tfevents" in path:
                continue  # EntryKind.FILE and EXECUTABLE
            if max(mtime_ns, ctime_ns) > LATEST or min(mtime_ns, ctime_ns) < -LATEST:
                continue
            if path in self.waiting:
                continue
            if learn:
                learn(path)
            batch.append(row)
            total += size
            if total >= GROUP_SIZE or len(batch) == FILES:
                self._submit(batch)
                batch, total = [], 0
        if len(batch) > 1:
            self._submit(batch)

    def _submit(self, rows: list[Columns]) -> None:
        library = self._library
        if library is not None:
            batch = _Batch(rows, self._ingest.work(lambda: self._read(library, rows)))
            self.waiting.update((row[0], batch) for row in rows)

    def take(self, path: bytes) -> Stored | None:
        """The file at `path`; None where it was not read here, or is not as nearly all files are."""
        batch = self.waiting.pop(path, None)
        if batch is None:
            return None
        if batch.found is None:
            batch.found = self._taken(batch.rows, batch.future.result())
        return batch.found.get(path)

    def _taken(self, rows: list[Columns], read: _Read) -> dict[bytes, Stored]:
        if not read.leases:
            self._library = None  # none for the next file either
        found = {rows[index][0]: Stored(data, None) for index, data in read.literals.items()}
        self.bytes_read += sum(map(len, read.literals.values())) + sum(rows[index][2] for index in read.small)
        if read.group is not None:
            places = self._ingest.place(read.group)
            for index, chunk_id, place in zip(read.small, read.group.ids, places, strict=True):
                path, _, size = rows[index][:3]
                found[path] = Stored(b"", Chunks.one(chunk_id, size, place))
        for index, piece in zip(read.small, read.pieces, strict=False):
            chunks = Chunks()
            self._ingest.small(piece, chunks)
            found[rows[index][0]] = Stored(b"", chunks)
        return found

    def _read(self, library: ctypes.CDLL, rows: list[Columns]) -> _Read:
        """What a worker does: read a batch, and make a frame of what is in it."""
        sizes = [row[2] for row in rows]
        starts = list(accumulate(sizes, initial=0))
        room, address = _room(starts[-1])
        statuses = bytearray(b"\1") * len(rows)
        expected = b"".join([_ROW.pack(row[2], row[3], row[4], 0) for row in rows])
        paths = b"\0".join([row[0] for row in rows])
        done = library.studio_read(
            self._root, len(rows), paths, expected, steady.TICK_NS, address, native.address(statuses)
        )
        literals: dict[int, bytes] = {}
        small: list[int] = []
        pieces: list[Buffer] = []
        for index, size in enumerate(sizes):
            piece = room[starts[index] : starts[index] + size]
            if statuses[index] or piece[: len(SQLITE_MAGIC)] == SQLITE_MAGIC:
                continue
            if size <= self._inline:
                literals[index] = bytes(piece)
            else:
                small.append(index)
                pieces.append(piece)
        if sum(map(len, pieces)) < LEAST:
            return _Read(literals, small, None, [bytes(piece) for piece in pieces], done == len(rows))
        whole = room[: starts[-1]] if len(pieces) == len(rows) else None
        return _Read(literals, small, self._ingest.encode_group(pieces, whole), [], done == len(rows))


def _room(size: int) -> tuple[memoryview, int]:
    """At least `size` bytes that this thread uses again and again, and their address."""
    held: tuple[memoryview, int] | None = getattr(_own, "room", None)
    if held is None or len(held[0]) < size:
        room = memoryview(bytearray(max(size, 2 * GROUP_SIZE)))
        held = _own.room = (room, native.address(room))
    return held
