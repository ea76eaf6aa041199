"""Read one file into chunks: whole and steady, or not at all.

A file of at most the inline limit becomes a literal; one smaller than the minimum chunk is one chunk that shares a
frame;
a larger one is cut and handed on in batches. A log that only grew is read from its last content-defined boundary on.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import ExitStack
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from studio_cas.chunking.cdc import cutter
from studio_cas.chunking.cutting import chunk_lengths
from studio_cas.chunking.profile import SQLITE_MAGIC, Cutting, Profile, choose, is_append_only
from studio_cas.ids import digest
from studio_cas.store.arena import Arena
from studio_cas.store.chunks import Batch, Chunks
from studio_cas.worktree import sqlite, steady
from studio_cas.worktree.batch import Batches
from studio_cas.worktree.scan import Row, is_at, open_below, row_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from studio_cas.formats.store_config import StoreConfig
    from studio_cas.store.arena import ArenaBuffer
    from studio_cas.store.ingest import Ingest

ATTEMPTS = 3
DATABASE_ATTEMPTS = 25  # pauses of a writer are short, and so are ours
COPIED = 32 * 1024 * 1024  # bytes: a database up to that size is copied into memory first
PATIENCE_NS = 5_000_000_000  # what one capture may wait in all for files to hold still
READ_SIZE = 8 * 1024 * 1024
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class Failure(Enum):
    """Why a file has no content."""

    GONE = "gone"
    UNSTEADY = "was being written"


class Content(NamedTuple):
    """A file as it was read: its stat row, the profile, and either a literal or chunks."""

    row: Row
    profile: Profile
    literal: bytes
    chunks: Chunks | None


class FileReader:
    """Reads the files below an open folder. Counts the bytes it read."""

    def __init__(self, root: int, config: StoreConfig, ingest: Ingest, advance: Callable[[int], None]) -> None:
        self._root = root
        self._config = config
        self._ingest = ingest
        self._advance = advance
        self._seen = self._told = 0  # bytes of the file being read: in this attempt, and in any
        self._arena = Arena(ingest.held_buffers)
        self.batches = Batches(root, config, ingest)
        self._zeros = memoryview(bytes(config.chunking.maximum))
        self._patience_ns = PATIENCE_NS
        self._wait_ns = 0
        self.bytes_read = 0
        self.sides: dict[bytes, Content | Failure | None] = {}

    def close(self) -> None:
        """Let go of the buffers; nothing that was read is in use any more."""
        self._arena.close()

    def read(self, row: Row, earlier: Chunks | None) -> Content | Failure:
        """The content of the file at `row.path`; `earlier` are its chunks when it was last captured.

        Raises OSError where it cannot be read.
        """
        self._told = 0
        self._attempts, attempt = ATTEMPTS, 0
        while attempt < self._attempts and (not attempt or self._pause()):
            attempt += 1
            self._seen = 0
            try:
                file = open_below(self._root, row.path, FLAGS)
            except FileNotFoundError:
                for suffix in sqlite.SIDES:
                    self.sides.pop(row.path + suffix, None)
                return Failure.GONE
            try:
                content = self._attempt(file, row, earlier)
            finally:
                os.close(file)
            if content is not None:
                return content
        return Failure.UNSTEADY

    def _tell(self, count: int) -> None:
        """Tell of `count` more bytes, unless an earlier attempt at the same file told of them."""
        self._seen += count
        if self._seen > self._told:
            self._advance(self._seen - self._told)
            self._told = self._seen

    def _pause(self) -> bool:
        """Wait as long as the last attempt advised, within the patience of one capture."""
        if self._wait_ns > self._patience_ns:
            return False
        self._patience_ns -= self._wait_ns
        time.sleep(self._wait_ns / 1e9)
        return True

    def _attempt(self, file: int, row: Row, earlier: Chunks | None) -> Content | None:
        """The content, or None where the file changed, or may have."""
        started_ns = time.time_ns()
        name = row.path.rpartition(b"/")[2]
        grows = is_append_only(name)
        if row.size < self._config.chunking.minimum and not grows:
            content = self._small_as_seen(file, row, started_ns, or_database=False)
            if content:
                return content
            os.lseek(file, 0, os.SEEK_SET)
            started_ns = time.time_ns()
        before = os.fstat(file)
        if (before.st_mtime_ns, before.st_size, before.st_ctime_ns, before.st_ino) != (row[3], row[2], row[4], row[5]):
            found = row_of(row.path, before) if stat.S_ISREG(before.st_mode) else None
            if found is None or not is_at(self._root, row.path, before):
                return None
            row = found
        if grows:
            content = self._content(file, name, row, earlier)
            return content if os.fstat(file).st_size >= row.size else None
        if row.size >= sqlite.SMALLEST and sqlite.is_database(file):
            return self._database(file, row, before, started_ns)
        if row.size < self._config.chunking.minimum:
            return self._small_as_seen(file, row, started_ns)
        if self._unsteady(steady.wait_before(file, before, started_ns)):
            return None
        content = self._content(file, name, row, None)
        return None if self._unsteady(steady.wait_after(file, name, steady.times(before), started_ns)) else content

    def _small_as_seen(self, file: int, row: Row, started_ns: int, *, or_database: bool = True) -> Content | None:
        """The content of a small file that is still as `row` says, as most are; else None."""
        data = self._whole(file, row.size)
        if data is None or (data.startswith(SQLITE_MAGIC) and not or_database):
            return None
        name = row.path.rpartition(b"/")[2]
        if self._unsteady(steady.wait_after(file, name, row[2:5], started_ns)):
            return None
        return self._small(row, data)

    def _database(self, file: int, row: Row, before: os.stat_result, started_ns: int) -> Content | None:
        """The content of a database, and in `sides` what belongs to it; None where it was written meanwhile."""
        self._attempts = DATABASE_ATTEMPTS
        self.sides |= {row.path + suffix: Failure.UNSTEADY for suffix in sqlite.SIDES}
        with sqlite.Family(self._root, row.path, file) as family, ExitStack() as copies:
            if self._unsteady(family.wait_before(before, started_ns)):
                return None
            files, rows = [file], [row]
            for side, suffix in ((family.journal, sqlite.JOURNAL), (family.log, sqlite.LOG)):
                found = row_of(row.path + suffix, os.fstat(side)) if side is not None else None
                if side is not None and found is not None:
                    files.append(side)
                    rows.append(found)
            copied = [
                copies.enter_context(sqlite.copied(one, each.size, COPIED))
                for one, each in zip(files, rows, strict=True)
            ]
            if self._unsteady(family.wait_after()):
                return None  # and nothing of it is stored
            contents = [
                self._content(one, each.path.rpartition(b"/")[2], each, None)
                for one, each in zip(copied, rows, strict=True)
            ]
            if set(copied) & set(files) and self._unsteady(family.wait_after()):
                return None
        whole = [one for one in contents if one is not None]
        if len(whole) < len(contents):
            return None
        self.sides |= {row.path + suffix: None for suffix in sqlite.SIDES} | {one.row.path: one for one in whole[1:]}
        return whole[0]

    def read_log(self, path: bytes, began_ns: int) -> Content | Failure:
        """The write-ahead log at `path`, whose database was not written since `began_ns`, the begin of this capture.

        It is GONE only where the database is whole without it.
        """
        self._told = self._seen = 0
        base = sqlite.base_of(path)
        try:
            file = open_below(self._root, path, FLAGS)
        except FileNotFoundError:
            status = sqlite.database_below(self._root, base)
            return Failure.GONE if status and sqlite.unwritten_since(status, began_ns) else Failure.UNSTEADY
        try:
            header = sqlite.log_header(file)
            row = row_of(path, os.fstat(file))
            content = self._content(file, path.rpartition(b"/")[2], row, None) if row is not None else None
            status = sqlite.database_below(self._root, base)
            whole = (
                status is not None and sqlite.unwritten_since(status, began_ns) and sqlite.log_header(file) == header
            )
        finally:
            os.close(file)
        return content if whole and content is not None else Failure.UNSTEADY

    def _unsteady(self, wait_ns: int) -> bool:
        self._wait_ns = wait_ns
        return wait_ns > 0

    def _small(self, row: Row, data: bytes) -> Content:
        self._tell(len(data))
        return Content(row, Profile.CDC, *self.store_small(data))

    def store_small(self, data: bytes) -> tuple[bytes, Chunks | None]:
        """Hand on the bytes of a small file: as a literal, or as a chunk."""
        self.bytes_read += len(data)
        if len(data) <= self._config.inline_limit:
            return data, None
        chunks = Chunks()
        self._ingest.small(data, chunks)
        return b"", chunks

    def _content(self, file: int, name: bytes, row: Row, earlier: Chunks | None) -> Content | None:
        """The content as it is read now; None where the file is shorter by now."""
        size = row.size
        if size < self._config.chunking.minimum:
            data = self._whole(file, size)
            return None if data is None else self._small(row, data)
        cutting = choose(name, size, lambda at, length: os.pread(file, length, at), self._config.chunking.minimum)
        start, chunks = 0, Chunks()
        if earlier is not None and cutting.profile is Profile.LOG:
            start, chunks = self._kept_prefix(file, size, earlier)
        if not self._cut(file, size, cutting, chunks, start):
            return None
        return Content(row, cutting.profile, b"", chunks)

    def _whole(self, file: int, size: int) -> bytes | None:
        """The bytes of a small file, or None where it is shorter than `size` by now."""
        data = os.read(file, size) if size else b""
        while len(data) < size:
            more = os.read(file, size - len(data))
            if not more:
                return None
            data += more
        return data

    def _kept_prefix(self, file: int, size: int, earlier: Chunks) -> tuple[int, Chunks]:
        """What of `earlier` holds for a file that only grew: all but its last chunk, where samples of it still agree.

        Looked at are the first chunk, one in the middle, and the last.
        """
        kept = Chunks()
        offsets = [0]
        for length in earlier.lengths:
            offsets.append(offsets[-1] + length)
        if len(earlier.ids) < 2 or offsets[-1] > size:
            return 0, kept
        for index in {0, len(earlier.ids) // 2, len(earlier.ids) - 1}:
            data = os.pread(file, earlier.lengths[index], offsets[index])
            self.bytes_read += len(data)
            if digest(data) != earlier.ids[index]:
                return 0, kept
        kept.ids, kept.lengths, kept.places = earlier.ids[:-1], earlier.lengths[:-1], earlier.places[:-1]
        self._tell(offsets[-2])
        return offsets[-2], kept

    def _cut(self, file: int, size: int, cutting: Cutting, chunks: Chunks, at: int) -> bool:
        """Cut the file from offset `at` on, and hand the chunks on; False where it is shorter than `size` by now."""
        carry: memoryview | None = None
        while at < size:
            hole = self._hole(file, at, cutting)
            if hole and not carry:
                self._ingest.repeat(self._zeros, hole, chunks)
                at += hole * len(self._zeros)
                self._tell(hole * len(self._zeros))
                continue
            kept = len(carry) if carry else 0
            wanted = len(self._zeros) - kept if hole else READ_SIZE  # before a hole: to the end of the chunk, at most
            buffer, space = self._arena.space(kept + min(size - at, wanted))
            if carry:
                space[:kept] = carry
            count = os.preadv(file, [space[kept:]], at)
            if count == 0:
                return False
            self.bytes_read += count
            self._tell(count)
            at += count
            carry = self._hand_on(space[: kept + count], at, size, cutting, chunks, buffer)
        return True

    def _hole(self, file: int, at: int, cutting: Cutting) -> int:
        """How many chunks of zeros a hole at offset `at` begins with; the last, whose end is data, is not counted.

        Zeros have no content-defined cut, so a chunk that begins in them is as long as chunks get.
        """
        if cutting.profile is not Profile.CDC:
            return 0
        try:
            end = os.lseek(file, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # there is no data up to the end of the file
                return 0
            end = cutting.regions[-1]
        count = (end - at) // len(self._zeros)
        return count if count and cutter(self._config.chunking)(self._zeros) == [len(self._zeros)] else 0

    def _hand_on(
        self, data: memoryview, end: int, size: int, cutting: Cutting, chunks: Chunks, buffer: ArenaBuffer
    ) -> memoryview:
        """Hand on the chunks of `data`, which ends at offset `end` of the file; the rest, whose end is not known."""
        start = end - len(data)
        lengths = chunk_lengths(data, start, cutting, self._config.chunking)
        used = sum(lengths)
        if lengths:
            grouped = cutting.profile is Profile.LOG
            self._ingest.large(Batch(data[:used], lengths, start, size, grouped), chunks, buffer)
            buffer.used += used
        return data[used:]
