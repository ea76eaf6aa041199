"""A SQLite database that a script has open: read as one moment, with what belongs to it, and no lock taken.

Programs keep databases open for hours, so whoever waits for them to be closed never captures them. SQLite says itself
when it writes (file format, sections 1 to 4; "File locking and concurrency"):

- It changes the file only under an exclusive lock, which anybody may ask about; a read lock would do as well, and would
  make the script wait. A lock that only says that a transaction was begun (RESERVED) leaves the file as it is.
- With a rollback journal, a file without an exclusive lock is whole. But for a journal that a killed writer left: that
  one and the file belong together.
- With a write-ahead log, the file and the log are whole together: the log only grows, a beginning of it is a state that
  there was, and it begins anew with another header. The file is written while the log is moved into it, which its times
  show.

Whoever copies or fetches a database writes it as any file, without a lock: one that is shorter than its header says,
and that somebody has open for writing, is not there yet. Only a log or a journal may hold the rest.

So the file is read between two looks: no lock, the same times, the same header with its change counter, the same header
of the log, and the same journal, if one was left. What was read is then one moment. Times have to be older than a tick
of the clock, as with any file.

The index of the log (-shm) is memory that is mapped, made anew by whoever opens the database: it is left out. So is a
journal that is not needed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

from studio_cas.chunking.profile import SQLITE_MAGIC
from studio_cas.worktree import steady
from studio_cas.worktree.scan import open_below

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

LOG, JOURNAL, INDEX = b"-wal", b"-journal", b"-shm"
SIDES = (JOURNAL, LOG)
SUFFIXES = (*SIDES, INDEX)
SMALLEST = 512  # bytes: a page
PAUSE_NS = 20_000_000
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK

_HEADER, _LOG_HEADER, _JOURNAL_HEADER = 100, 32, 28
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_PENDING, _RESERVED, _SHARED, _SHARED_LENGTH = 0x40000000, 0x40000001, 0x40000002, 510
_FLOCK = struct.Struct("@hhqqi4x")
_NO_FILE = (errno.ELOOP, errno.ENXIO)  # a link; a socket
_PAGE_SIZE_AT, _CHANGES_AT, _PAGES_AT, _PAGES_OF_CHANGE_AT = 16, 24, 28, 92
_LARGEST_PAGE = 65536  # which does not fit into its field: that has a 1
_GET_LOCK = getattr(fcntl, "F_OFD_GETLK", None)


def is_database(file: int) -> bool:
    """Whether the open file begins as a database does."""
    return os.pread(file, len(SQLITE_MAGIC), 0) == SQLITE_MAGIC


def base_of(path: bytes) -> bytes:
    """The database that the file at `path`, which ends in one of SUFFIXES, would belong to."""
    return path.rpartition(b"-")[0]


def database_below(root: int, path: bytes) -> os.stat_result | None:
    """The stat of the database at `path` below the open folder `root`; None where there is none."""
    with contextlib.suppress(OSError), _opened(root, path) as file:
        status = os.fstat(file)
        if stat.S_ISREG(status.st_mode) and is_database(file):
            return status
    return None


class Marks(NamedTuple):
    """What stays the same while nobody writes: times and size, header, log, journal."""

    times: tuple[int, int, int]
    header: bytes
    log: tuple[int, bytes] | None
    journal: tuple[int, ...] | None


class Family:
    """One attempt to read the open database `file`, at `path` below the open folder `root`, with what belongs to it.

    `log` and `journal` are open where they belong to it, else None. Use as a context manager.
    """

    def __init__(self, root: int, path: bytes, file: int) -> None:
        self._root = root
        self._path = path
        self._file = file
        self._open = contextlib.ExitStack()
        self.log: int | None = None
        self.journal: int | None = None
        self._marks: Marks | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def wait_before(self, before: os.stat_result, started_ns: int) -> int:
        """Nanoseconds to wait before reading makes sense, or 0. `before`: its stat, asked for after `started_ns`."""
        quiet = started_ns - steady.touched(before.st_mtime_ns, before.st_ctime_ns, started_ns)
        if quiet <= steady.TICK_NS:
            return steady.TICK_NS
        locked = is_locked(self._file)
        if locked:
            return PAUSE_NS
        if locked is None and steady.unwritten(self._file) is not True and quiet < steady.SETTLE_NS:
            return steady.SETTLE_NS - quiet
        self.log = self._side(LOG)
        if self.log is not None and not os.fstat(self.log).st_size:
            self.log = None
        self.journal = self._hot_journal()
        self._marks = self._look(self.log, self.journal)
        if self.log is None and self.journal is None and _is_short(self._marks.header, before.st_size):
            free = steady.unwritten(self._file)
            if free is False or (free is None and quiet < steady.SETTLE_NS):
                return steady.PAUSE_NS if free is False else steady.SETTLE_NS - quiet
        return 0 if self._marks.times == _times(before) else PAUSE_NS

    def wait_after(self) -> int:
        """0 where what was read since is one moment; else the nanoseconds to wait before another attempt."""
        if is_locked(self._file):
            return PAUSE_NS
        return 0 if self._look(self._side(LOG), self._hot_journal()) == self._marks else PAUSE_NS

    def _side(self, suffix: bytes) -> int | None:
        """A regular file beside the database, open; SQLite follows no link there either."""
        try:
            side = self._open.enter_context(_opened(self._root, self._path + suffix))
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in _NO_FILE:
                return None
            raise
        return side if stat.S_ISREG(os.fstat(side).st_mode) else None

    def _hot_journal(self) -> int | None:
        """The journal of a writer that is gone: it undoes what was half written."""
        journal = self._side(JOURNAL)
        if journal is None or os.pread(journal, len(_JOURNAL_MAGIC), 0) != _JOURNAL_MAGIC:
            return None
        return None if _is_locked(self._file, _RESERVED, 1) else journal

    def _look(self, log: int | None, journal: int | None) -> Marks:
        inode = os.fstat(log).st_ino if log is not None else 0
        header = os.pread(log, _LOG_HEADER, 0) if log is not None else b""
        left = os.fstat(journal) if journal is not None else None
        return Marks(
            _times(os.fstat(self._file)),
            os.pread(self._file, _HEADER, 0),
            (inode, header) if header else None,
            (left.st_ino, *_times(left)) if left is not None else None,
        )


@contextlib.contextmanager
def copied(file: int, size: int, limit: int) -> Iterator[int]:
    """A copy in memory, open, where the file is no larger than `limit`: fast, so that seldom is it written meanwhile.

    Else the file itself.
    """
    if size > limit or not hasattr(os, "memfd_create"):
        yield file
        return
    copy = os.memfd_create("database")
    try:
        at = 0
        while at < size and (count := os.sendfile(copy, file, at, size - at)):
            at += count
        os.lseek(copy, 0, os.SEEK_SET)
        yield copy
    finally:
        os.close(copy)


def is_locked(file: int) -> bool | None:
    """Whether somebody writes the database, or is about to; None where the system does not say."""
    pending = _is_locked(file, _PENDING, 1)
    return pending or _is_locked(file, _SHARED, _SHARED_LENGTH)


def _is_locked(file: int, start: int, length: int) -> bool | None:
    """Whether somebody, this very process included, has a lock for writing on that range; nothing is locked by this."""
    if _GET_LOCK is None:
        return None
    try:
        asked = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, start, length, 0)
        kind: int = _FLOCK.unpack(fcntl.fcntl(file, _GET_LOCK, asked))[0]
    except (OSError, struct.error):
        return None
    return kind != fcntl.F_UNLCK


def unwritten_since(status: os.stat_result, moment_ns: int) -> bool:
    """Whether a file was last written before the moment, more than a tick of the clock ago."""
    return steady.touched(status.st_mtime_ns, status.st_ctime_ns, time.time_ns()) < moment_ns - steady.TICK_NS


def log_header(log: int) -> bytes:
    """What is another one when the log has begun anew."""
    return os.pread(log, _LOG_HEADER, 0)


def _is_short(header: bytes, size: int) -> bool:
    """Whether the database of that header has more than `size` bytes; False where the header does not say."""

    def number(at: int, length: int = 4) -> int:
        return int.from_bytes(header[at : at + length], "big")

    page = number(_PAGE_SIZE_AT, 2)
    says = number(_CHANGES_AT) == number(_PAGES_OF_CHANGE_AT)  # else it was written by a SQLite that knew no such field
    return says and number(_PAGES_AT) * (_LARGEST_PAGE if page == 1 else page) > size


def _times(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size


@contextlib.contextmanager
def _opened(root: int, path: bytes) -> Iterator[int]:
    file = open_below(root, path, FLAGS)
    try:
        yield file
    finally:
        os.close(file)
