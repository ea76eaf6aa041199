"""Who tells us of changes at once: watchdog, over inotify. The only file that knows it.

Events are hints, and a sweep each period is the truth; so what is lost costs time only, and what may have been lost is
said: as a change of everything, and as a watch mode.

- watchdog tells nobody that the kernel's queue overflowed, it only logs so: a handler of its logger turns a warning
  into "everything changed" for every folder.
- It leaves out folders for which the system has no watch left, and says nothing: the watches that the kernel lists for
  us in /proc are compared with the folders there are.
- It answers an overflow by making all watches anew, and each one it drops is an event more: of a tree with more folders
  than the queue is long it never comes out again. So after a few overflows in a row nothing is watched for a while.
- A watch belongs to an inode: a folder that was replaced, or deleted and made again, is watched anew when it is next
  looked at.

Not asked for are events of every write: a script that writes a log a line at a time would pay for them. A file is news
when it is made, closed after writing, moved or deleted; one that stays open is found by the sweep.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from studio_cas.sync.changes import Changes
    from studio_cas.worktree.ignore import Ignored

STORM, STORM_SECONDS = 4, 20.0  # so many overflows in so many seconds
REST = 600.0  # seconds without watches after that
EVENTS, PARTIAL, SWEEP = "events", "partial", "sweep only"


@dataclass(frozen=True, slots=True)
class Mode:
    """How a folder is watched: `events`, `partial` or `sweep only`, and why it is not the first."""

    mode: str = SWEEP
    reason: str = ""


@dataclass
class Watch:
    """One watched folder or file. `grown`: folders came, so that the watches have to be compared again."""

    root: str
    identity: tuple[int, int]
    changes: Changes
    only: str = ""
    lost: bool = False
    grown: bool = True
    scheduled: Any = field(default=None, repr=False)
    handler: Any = field(default=None, repr=False)


class Watcher:
    """Watches many folders. `wake` is called, from another thread, when something happened after a quiet time."""

    def __init__(self, wake: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._wake = wake
        self._clock = clock
        self._watches: list[Watch] = []
        self._lock = threading.Lock()
        self._observer: Any = None
        self._listener: logging.Handler | None = None
        self._overflows: deque[float] = deque(maxlen=STORM)
        self._rest_until = float("-inf")

    def watch(self, path: Path, changes: Changes) -> tuple[Watch | None, Mode]:
        """Watch `path`, which exists; None where the system cannot, and why. Raises OSError where it went away."""
        if self._clock() < self._rest_until:
            return None, Mode(SWEEP, f"events were lost {STORM} times in a row; it is tried again after a while")
        root = os.path.realpath(path)
        status = os.stat(root)  # noqa: PTH116
        watch = Watch(root, (status.st_dev, status.st_ino), changes)
        if not os.path.isdir(root):  # noqa: PTH112
            watch.root, watch.only = os.path.split(root)
        try:
            with self._lock:
                self._schedule(watch)
                self._watches.append(watch)
        except (OSError, RuntimeError, ImportError) as error:
            reason = f"{getattr(error, 'strerror', None) or error}; see fs.inotify in sysctl"
            return None, Mode(SWEEP, reason)
        return watch, Mode(EVENTS)

    def _schedule(self, watch: Watch) -> None:
        from watchdog import events

        observer = self._started()
        wanted = [
            events.DirCreatedEvent,
            events.DirDeletedEvent,
            events.DirMovedEvent,
            events.FileClosedEvent,
            events.FileCreatedEvent,
            events.FileDeletedEvent,
            events.FileMovedEvent,
        ]
        watch.handler = _Handler(watch, self._wake)
        watch.scheduled = observer.schedule(
            watch.handler, watch.root, recursive=not watch.only, event_filter=list(wanted)
        )

    def _started(self) -> Any:
        if self._observer is None:
            from watchdog.observers import Observer

            observer = Observer()
            observer.start()
            self._observer = observer
            self._listener = _Listener(self._lose_track)
            logger = logging.getLogger("watchdog")
            if not logger.handlers:
                logger.addHandler(logging.NullHandler())  # what is said after our time goes nowhere
            logger.addHandler(self._listener)
            logger.propagate = False
        return self._observer

    def unwatch(self, watch: Watch) -> None:
        """Watch it no longer."""
        with self._lock:
            if watch not in self._watches:
                return  # there was a rest
            self._watches.remove(watch)
            with contextlib.suppress(KeyError, OSError, RuntimeError):
                self._observer.remove_handler_for_watch(watch.handler, watch.scheduled)
                if not any(other.scheduled == watch.scheduled for other in self._watches):
                    self._observer.unschedule(watch.scheduled)

    def _lose_track(self, *, overflow: bool) -> None:
        """Events were lost, nobody knows whose."""
        if overflow:
            self._overflows.append(self._clock())
        for watch in list(self._watches):
            watch.grown = True
            watch.changes.add_everything()
        self._wake()

    @property
    def in_a_storm(self) -> bool:
        """Whether the queue overflows all the time."""
        last = list(self._overflows)
        return len(last) == STORM and last[-1] - last[0] < STORM_SECONDS

    def rest(self) -> None:
        """Watch nothing for a while."""
        with self._lock:
            self._rest_until = self._clock() + REST
            for watch in self._watches:
                watch.lost = True
            self._watches.clear()
            self._overflows.clear()
            self.close()

    def close(self) -> None:
        """Watch nothing."""
        if self._observer is not None:
            logging.getLogger("watchdog").removeHandler(self._listener)  # type: ignore[arg-type]
            self._observer.stop()
            self._observer.join()
            self._observer = None


class _Handler:
    """Puts what watchdog says of one folder into its changes. Called in watchdog's thread."""

    def __init__(self, watch: Watch, wake: Callable[[], None]) -> None:
        self._watch = watch
        self._wake = wake
        self._prefix = watch.root.rstrip("/") + "/"

    def dispatch(self, event: Any) -> None:
        """Take one event."""
        watch = self._watch
        if event.is_directory and event.event_type in {"created", "moved"}:
            watch.grown = True
        news = False
        for path in (event.src_path, event.dest_path):
            if path == watch.root and event.event_type == "deleted":
                watch.lost = True
                news |= watch.changes.add_everything()
            elif path and path.startswith(self._prefix):
                below = path[len(self._prefix) :]
                if not watch.only or below == watch.only:
                    news |= watch.changes.add(below)
        if news:
            self._wake()


class _Listener(logging.Handler):
    """Turns a warning or an error of watchdog into a call."""

    def __init__(self, lose_track: Callable[..., None]) -> None:
        super().__init__(logging.WARNING)
        self._lose_track = lose_track

    def emit(self, record: logging.LogRecord) -> None:
        """Called by watchdog's logger; whatever it says, events may be missing."""
        self._lose_track(overflow=record.name.endswith("inotify_c"))


def still_there(watch: Watch, path: Path) -> bool:
    """Whether `path` is what is watched: not replaced, nor deleted and made again."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return False
    if watch.only:  # its folder is watched, and a file that is replaced is told of
        return os.path.realpath(path) == os.path.join(watch.root, watch.only)  # noqa: PTH118
    return not watch.lost and (status.st_dev, status.st_ino) == watch.identity


def compare(watch: Watch, ignored: Ignored | None, pruned: set[tuple[int, int]]) -> Mode:
    """Compare the folders there are, without those that are left out, with those that the system watches for us."""
    if watch.only:
        return Mode(EVENTS)
    watch.grown = False
    watched = _watched_inodes()
    if watched is None:
        return Mode(EVENTS)
    there = _folders(watch.root, ignored, pruned)
    if watch.identity[1] in watched:
        missing = sum(1 for inode in there if inode not in watched)
    else:  # the file system shows other numbers here than there
        missing = max(0, len(there) - len(watched))
    if not missing:
        return Mode(EVENTS)
    limit = _read_limit("max_user_watches")
    return Mode(PARTIAL, f"{missing:,} of {len(there):,} folders are not watched: the system allows {limit} watches")


def _read_limit(name: str) -> str:
    with contextlib.suppress(OSError), open(f"/proc/sys/fs/inotify/{name}", encoding="ascii") as file:  # noqa: PTH123
        return f"{int(file.read()):,}"
    return "no more"


def _watched_inodes() -> set[int] | None:
    """The inodes that this process watches; None where the system does not say."""
    watched: set[int] = set()
    try:
        for number in os.listdir("/proc/self/fd"):  # noqa: PTH208
            with contextlib.suppress(FileNotFoundError):
                if os.readlink(f"/proc/self/fd/{number}") == "anon_inode:inotify":  # noqa: PTH115
                    watched |= _inodes_of(f"/proc/self/fdinfo/{number}")
    except OSError:
        return None
    return watched


def _inodes_of(info: str) -> set[int]:
    """From lines like `inotify wd:3 ino:9e7e sdev:800013 mask:...`."""
    with open(info, encoding="ascii") as lines:  # noqa: PTH123
        rows = (line.split() for line in lines if line.startswith("inotify wd:"))
        return {int(row[2].removeprefix("ino:"), 16) for row in rows}


def _folders(root: str, ignored: Ignored | None, pruned: set[tuple[int, int]]) -> set[int]:
    """The inodes of `root` and of the folders below it."""
    found: set[int] = set()
    stack = [root]
    while stack:
        folder = stack.pop()
        with contextlib.suppress(OSError):
            status = os.stat(folder, follow_symlinks=False)  # noqa: PTH116
            if (status.st_dev, status.st_ino) in pruned:
                continue
            found.add(status.st_ino)
            with os.scandir(folder) as entries:
                below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
            start, is_folder = len(root.rstrip("/")) + 1, True
            stack += [path for path in below if not (ignored and ignored(os.fsencode(path[start:]), is_folder))]
    return found
