"""Whether a file holds still: nobody has it open for writing, and its stat does not change while it is read.

Stat before and after is not enough: a writer that pauses between two writes looks still. Where the system grants a read
lease (Linux, own files, local file systems), nobody has the file open for writing; the lease is dropped at once, so a
writer that comes meanwhile waits microseconds. Elsewhere a file must have settled, and formats that know their length
must be complete.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from studio_cas.worktree import completeness

if TYPE_CHECKING:
    from collections.abc import Callable

SETTLE_NS = 2_000_000_000
APPEND_ONLY = ("*.log", "*.jsonl", "*.ndjson", "*tfevents*", "*.out", "*.err", "output")


def is_append_only(name: bytes) -> bool:
    """Whether files of this name only ever grow, so that a prefix of one is whole: logs, event files, `output`."""
    text = os.fsdecode(name)
    return any(fnmatchcase(text, pattern) for pattern in APPEND_ONLY)


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


def settled(file: int, name: bytes, status: os.stat_result, clock_ns: Callable[[], int] = time.time_ns) -> bool:
    """Whether the open file may be read now: unwritten, or, where that cannot be known, quiet and complete."""
    free = unwritten(file)
    if free is not None:
        return free
    quiet = clock_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLE_NS
    return (
        quiet and completeness.probe(name, status.st_size, lambda at, length: os.pread(file, length, at)) is not False
    )


def same(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether nothing was written between two stats of one open file, as far as stat can tell."""
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )
