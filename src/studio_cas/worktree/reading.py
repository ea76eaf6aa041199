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
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from studio_cas.chunking.cdc import cutter
from studio_cas.chunking.cutting import chunk_lengths
from studio_cas.chunking.profile import Cutting, Profile, choose, is_append_only
from studio_cas.ids import digest
from studio_cas.store.arena import Arena
from studio_cas.store.ingest import Batch, Chunks
from studio_cas.worktree import steady
from studio_cas.worktree.scan import Row, open_below, row_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from studio_cas.formats.store_config import StoreConfig
    from studio_cas.store.arena import ArenaBuffer
    from studio_cas.store.ingest import Ingest

ATTEMPTS = 3
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
        self._arena = Arena()
        self._zeros = memoryview(bytes(config.chunking.maximum))
        self._patience_ns = PATIENCE_NS
        self._wait_ns = 0
        self.bytes_read = 0

    def close(self) -> None:
        """Let go of the buffers; nothing that was read is in use any more."""
        self._arena.close()

    def read(self, row: Row, earlier: Chunks | None) -> Content | Failure:
        """The content of the file at `row.path`; `earlier` are its chunks when it was last captured.

        Raises OSError where it cannot be read.
        """
        self._told = 0
        for attempt in range(ATTEMPTS):
            if attempt and not self._pause():
                break
            self._seen = 0
            try:
                file = open_below(self._root, row.path, FLAGS)
            except FileNotFoundError:
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
        before = os.fstat(file)
        if (before.st_mtime_ns, before.st_size, before.st_ctime_ns, before.st_ino) != (row[3], row[2], row[4], row[5]):
            found = row_of(row.path, before) if stat.S_ISREG(before.st_mode) else None
            if found is None:
                return None
            row = found
        name = row.path.rpartition(b"/")[2]
        if is_append_only(name):
            content = self._content(file, name, row, earlier)
            return content if os.fstat(file).st_size >= row.size else None
        if row.size < self._config.chunking.minimum:
            data = self._whole(file, row.size)
            if data is None or self._unsteady(steady.wait_after(file, name, before)):
                return None
            return self._small(row, data)
        if self._unsteady(steady.wait_before(file)):
            return None
        content = self._content(file, name, row, None)
        return None if self._unsteady(steady.wait_after(file, name, before)) else content

    def _unsteady(self, wait_ns: int) -> bool:
        self._wait_ns = wait_ns
        return wait_ns > 0

    def _small(self, row: Row, data: bytes) -> Content:
        self.bytes_read += len(data)
        self._tell(len(data))
        if len(data) <= self._config.inline_limit:
            return Content(row, Profile.CDC, data, None)
        chunks = Chunks()
        self._ingest.small(data, chunks)
        return Content(row, Profile.CDC, b"", chunks)

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
