"""Fetch chunks from packs and write them into files: reads, decoding, verification and writing on every core.

Nothing that does not match its chunk id reaches a file. A file of one chunk is written by whoever decodes it; a
larger one
is opened when its first chunk is planned and closed when its last is written.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from studio_cas import native
from studio_cas.codec import frames
from studio_cas.errors import CorruptError, LocalIOError, NoSpaceError, NotFoundError, RefusedError
from studio_cas.formats import keys
from studio_cas.formats.leaf import EntryKind
from studio_cas.ids import digest
from studio_cas.store import damage
from studio_cas.worktree import plan
from studio_cas.worktree.scan import open_below, row_of
from studio_cas.worktree.whole import WholeFile, write_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor
    from pathlib import Path

    from studio_cas.formats.leaf import Place
    from studio_cas.store.store import Store
    from studio_cas.worktree.plan import RangeRead, Wanted
    from studio_cas.worktree.scan import Row

LOCAL_WORKERS = max(2, min(8, os.cpu_count() or 2))
REMOTE_WORKERS = 32
FEW = 4  # chunks of a frame; more are small files, which threads of Python write more slowly together than one alone
IN_FLIGHT = 64 * 1024 * 1024
REMOTE_IN_FLIGHT = 128 * 1024 * 1024  # so that each worker has a range: one connection to a cloud is slow
SMALL_BATCH = 256
REWRITE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
CREATE_LARGE = REWRITE | os.O_EXCL


def local_error(error: OSError, path: bytes) -> NoSpaceError | LocalIOError:
    """What went wrong with a file of the user, in one sentence."""
    name = os.fsdecode(path)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        message = f"the disk is full: {name} could not be written; make room and start again"
        return NoSpaceError(message)
    message = f"{name} could not be written: {error.strerror}"
    return LocalIOError(message)


@contextmanager
def local_errors(path: Path) -> Iterator[None]:
    """Raises LocalIOError or NoSpaceError for an OSError; `path` is named where the error names nothing."""
    try:
        yield
    except OSError as error:
        named = error.filename if isinstance(error.filename, str | bytes) else path
        raise local_error(error, os.fsencode(named)) from error


class Destination:
    """One file to write. `write` from any thread; `done` is called with its stat row when the last chunk is there."""

    __slots__ = ("_done", "_fd", "_kind", "_lock", "_mtime_ns", "_pending", "_root", "cloned", "path", "size")

    def __init__(
        self, root: int, path: bytes, kind: int, size: int, mtime_ns: int, done: Callable[[Row], None]
    ) -> None:
        self.path = path
        self.size = size
        self.cloned = False
        self._root = root
        self._kind = kind
        self._mtime_ns = mtime_ns
        self._done = done
        self._fd = -1
        self._pending = 1
        self._lock = threading.Lock()

    def expect(self) -> None:
        """One more chunk will be written."""
        with self._lock:
            self._pending += 1

    def open(self, *, fresh: bool) -> None:
        """Make the file, at its full size; without `fresh` it may be there from an earlier, interrupted pull."""
        self._fd = open_below(self._root, self.path, CREATE_LARGE if fresh else REWRITE, self._mode())
        if not fresh:
            os.fchmod(self._fd, self._mode() & ~_umask())
        self.grow(self.size)

    def _mode(self) -> int:
        return 0o777 if self._kind == EntryKind.EXECUTABLE else 0o666

    @property
    def is_open(self) -> bool:
        """Whether chunks are still to come."""
        return self._fd >= 0

    def clone(self, fill: Callable[[int], None]) -> None:
        """Let `fill` put in the open file what may be its content. Raises OSError."""
        fill(self._fd)
        self.cloned = True

    def fill(self, data: bytes) -> None:
        """Write `data` at the beginning; it is not an expected chunk."""
        self._write(data, 0)

    def grow(self, size: int) -> None:
        """The file is `size` bytes long, as far as is known."""
        self.size = size
        if os.fstat(self._fd).st_size < size:  # what an interrupted pull wrote of later parts stays
            os.ftruncate(self._fd, size)

    def holds(self, offset: int, length: int, chunk_id: bytes) -> bool:
        """Whether the chunk is there already."""
        return digest(os.pread(self._fd, length, offset)) == chunk_id

    def write(self, data: Any, offset: int) -> None:
        """Write one expected chunk."""
        self._write(data, offset)
        self.arrived()

    def _write(self, data: Any, offset: int) -> None:
        written = os.pwrite(self._fd, data, offset)
        while written < len(data):
            written += os.pwrite(self._fd, memoryview(data)[written:], offset + written)

    def arrived(self) -> None:
        """One expected chunk is in place; after the last, the file is closed."""
        with self._lock:
            self._pending -= 1
            last = not self._pending
        if last:
            self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        try:
            if os.fstat(fd).st_size != self.size:
                os.ftruncate(fd, self.size)
            os.utime(fd, ns=(self._mtime_ns, self._mtime_ns))
            row = row_of(self.path, os.fstat(fd))
        finally:
            os.close(fd)
        if row is not None:
            self._done(row)

    def abandon(self) -> None:
        """Close without a word."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def write_to(target: WholeFile | Destination, offset: int | None, data: Any) -> None:
    """Write a chunk: the whole of a file, or a part at `offset`. Raises OSError."""
    if isinstance(target, WholeFile):
        target.write(data)
    else:
        target.write(data, offset or 0)


def _write_frame(frame: plan.FrameRead, plain: memoryview) -> None:
    """Write the verified chunks of a frame; those that are whole files at once. Raises what `local_error` makes."""
    targets: list[Any] = [wanted.target for wanted in frame.wanted]
    destination: Any = None
    try:
        if len(targets) > FEW and all(isinstance(target[0], WholeFile) for target in targets):
            offsets, lengths = [wanted.inner for wanted in frame.wanted], [wanted.length for wanted in frame.wanted]
            write_files([target[0] for target in targets], offsets, lengths, plain)
            return
        for wanted, (destination, offset) in zip(frame.wanted, targets, strict=True):
            write_to(destination, offset, plain[wanted.inner : wanted.inner + wanted.length])
    except OSError as error:
        raise local_error(error, destination.path if destination else error.filename) from error


@cache
def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


class Fetcher:
    """Runs planned reads. Used from one thread; its workers read, decode, verify and write."""

    def __init__(self, store: Store, name: str, advance: Callable[[int], None]) -> None:
        self._store = store
        self._name = name
        self._advance = advance
        self._pool: ThreadPoolExecutor | None = None
        self._flights: deque[tuple[int, Future[int]]] = deque()
        self._in_flight = 0
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self.bytes_fetched = 0
        self.bytes_written = 0

    def fetch(self, chunks: list[tuple[Place, Wanted]]) -> None:
        """Read `chunks` from the store, and write each to its target: (WholeFile, None) or (Destination, offset)."""
        for read in self._plan(chunks):
            self.submit(read.end - read.offset, partial(self._run, read))

    def fetch_now(self, chunks: list[tuple[Place, Wanted]]) -> int:
        """The same, in this thread; how many plain bytes were written."""
        return sum(self._run(read) for read in self._plan(chunks))

    def _plan(self, chunks: list[tuple[Place, Wanted]]) -> list[RangeRead]:
        try:
            return plan.ranges(chunks)
        except RefusedError as error:
            message = f"{self._name}: {error}"
            raise RefusedError(message) from error

    def skip(self, length: int) -> None:
        """Show the progress of `length` bytes that need not be written."""
        self._advance(length)

    def submit(self, size: int, work: Callable[[], int]) -> None:
        """Let a worker do `work`, which returns how many plain bytes it wrote; wait where too much is under way."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            workers = LOCAL_WORKERS if self._store.backend.local else REMOTE_WORKERS
            self._pool = ThreadPoolExecutor(workers, "fetch")
        most = IN_FLIGHT if self._store.backend.local else REMOTE_IN_FLIGHT
        while self._flights and (self._flights[0][1].done() or self._in_flight > most):
            self._take()
        self._flights.append((size, self._pool.submit(work)))
        self._in_flight += size

    def _take(self) -> None:
        size, future = self._flights.popleft()
        self._in_flight -= size
        written = future.result()
        self.bytes_written += written
        self._advance(written)

    def _run(self, read: RangeRead) -> int:
        key = keys.pack(read.pack)
        try:
            data = memoryview(self._store.backend.read(key, read.offset, read.end - read.offset))
        except NotFoundError as error:
            damage.examine(self._store, read.pack)
            message = f"{self._name}: {self._first_path(read)}: pack {read.pack.hex()} is missing from the store"
            raise CorruptError(message) from error
        with self._lock:
            self.bytes_fetched += len(data)
        written = 0
        for frame in read.frames:
            start = frame.offset - read.offset
            written += self._frame(read, frame, data[start : start + frame.stored])
        return written

    def _frame(self, read: RangeRead, frame: plan.FrameRead, stored: memoryview) -> int:
        try:
            plain = memoryview(frames.decode(frame.codec, stored, frame.plain))
        except CorruptError as error:
            damage.examine(self._store, read.pack)
            target: Any = frame.wanted[0].target
            message = f"{self._name}: {os.fsdecode(target[0].path)}: pack {read.pack.hex()} is damaged ({error})"
            raise CorruptError(message) from error
        with self._turn if len(frame.wanted) > FEW and native.library() is None else nullcontext():
            return self._write(read, frame, plain)

    def _write(self, read: RangeRead, frame: plan.FrameRead, plain: memoryview) -> int:
        """Verify the chunks of a frame, and write them."""
        for chunk_id, inner, length, target in frame.wanted:
            if digest(plain[inner : inner + length]) != chunk_id:
                damage.examine(self._store, read.pack)
                destination: Any = target
                message = (
                    f"{self._name}: {os.fsdecode(destination[0].path)}: a chunk of pack {read.pack.hex()} is damaged; "
                    "nothing of it was written"
                )
                raise CorruptError(message)
        _write_frame(frame, plain)
        return sum(wanted.length for wanted in frame.wanted)

    def _first_path(self, read: RangeRead) -> str:
        target: Any = read.frames[0].wanted[0].target
        return os.fsdecode(target[0].path)

    def finish(self, enough: Callable[[], bool] = lambda: False) -> None:
        """Wait until all is written, or `enough` is. Raises what a worker raised."""
        while self._flights and not enough():
            self._take()

    def close(self) -> None:
        """Stop the workers; what was not begun is dropped."""
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)
