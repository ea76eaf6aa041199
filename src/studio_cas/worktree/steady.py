"""Whether a file holds still: nobody has it open for writing, and its stat does not change while it is read.

Stat before and after is not enough: a writer that pauses between two writes looks still. Where the system grants a read
lease (Linux, own files, local file systems), nobody has the file open for writing; the lease is dropped at once, so a
writer that comes meanwhile waits microseconds. Elsewhere a file must have settled, and formats that know their length
must be complete.

A file is read between two stats, and the lease is asked for after the reading: a writer that was there while we read,
and is gone now, has changed the times, unless it wrote within a tick of the clock; so times must be older than that
when the reading begins.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from typing import TYPE_CHECKING

from studio_cas.worktree import completeness

if TYPE_CHECKING:
    from collections.abc import Callable

STILL_WRITTEN = "is still being written: its earlier content stands, if it has any"  # said of what is stale
TICK_NS = 20_000_000  # the coarsest clock that file systems take their times from ticks 100 times a second; twice that
SETTLE_NS = 2_000_000_000
PAUSE_NS = 50_000_000


def unwritten(file: int) -> bool | None:
    """Whether nobody has the open `file` open for writing; None where the system does not say."""
    try:
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)  # a broken lease sends SIGIO, which kills; SIGURG is ignored
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except AttributeError:  # not Linux
        return None
    except OSError as error:
        return False if error.errno == errno.EAGAIN else None
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return True


def wait_before(file: int, before: os.stat_result, started_ns: int) -> int:
    """How long to wait before reading the open file makes sense, in nanoseconds: a writer has it, or had it just now.

    `before`: its stat, asked for after `started_ns`.
    """
    if started_ns - touched(before.st_mtime_ns, before.st_ctime_ns, started_ns) <= TICK_NS:
        return TICK_NS
    return PAUSE_NS if unwritten(file) is False else 0


def times(status: os.stat_result) -> tuple[int, int, int]:
    """What tells whether a file was written between two stats of it, as far as stat can tell."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def wait_after(
    file: int, name: bytes, before: tuple[int, int, int], started_ns: int, clock_ns: Callable[[], int] = time.time_ns
) -> int:
    """0 where what was read since `before`, its `times`, is whole; else the nanoseconds to wait before another try.

    `started_ns`: a time before the reading. A file that was written within a tick of the clock before may have
    been written after as well, and its times are the same.
    """
    free = unwritten(file)
    after = os.fstat(file)
    if free is False or before != times(after):
        return PAUSE_NS
    needed = TICK_NS if free else SETTLE_NS
    written = touched(after.st_mtime_ns, after.st_ctime_ns, started_ns)
    if started_ns - written <= needed:
        return max(1, min(needed, needed - (clock_ns() - written)))
    if free:
        return 0
    complete = completeness.probe(name, after.st_size, lambda at, length: os.pread(file, length, at))
    return PAUSE_NS if complete is False else 0


def touched(mtime_ns: int, ctime_ns: int, now_ns: int) -> int:
    """When a file was last written, at the latest. A modification time in the future was set by hand: it tells nothing.

    The time of the last change of the inode cannot be set; it moves with every write.
    """
    return ctime_ns if mtime_ns > now_ns else max(mtime_ns, ctime_ns)
