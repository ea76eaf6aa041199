"""Objects that wait on this machine for a store that is away: in a folder, in order, durably, within a budget.

Each is one file, named by its number: a line with its key, then its content. Writers of several processes take turns
by a lock of the kernel, which is gone with its holder, so numbers follow one another and no key is queued twice.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from bisect import bisect_left
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from studio_cas.backends.base import ObjectStat
from studio_cas.backends.keycheck import LONGEST_KEY
from studio_cas.errors import (
    LocalIOError,
    NoSpaceError,
    NotFoundError,
    ObjectExistsError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from studio_cas.backends.base import Backend
    from studio_cas.ids import Buffer

QUEUE: Final = "queue/"
_DIGITS: Final = 16
_SETTLED_NS: Final = 50_000_000  # a folder's time is as coarse as the kernel's clock tick
LARGEST_BUDGET: Final = 10 << 30
_SHARE: Final = 10


@dataclass(frozen=True, slots=True)
class Queued:
    """One object: its number in the queue, its key, the size of its content, and when it came."""

    number: int
    key: str
    size: int
    created: float

    @property
    def name(self) -> str:
        """Its key on the disk."""
        return f"{QUEUE}{self.number:0{_DIGITS}}"

    @property
    def start(self) -> int:
        """Where the content begins in its file."""
        return len(self.key) + 1

    def stat(self) -> ObjectStat:
        """As a store would tell it."""
        return ObjectStat(self.key, self.size, self.created)


def share_of_disk(folder: Path) -> Callable[[int], int]:
    """The budget where none is configured: a tenth of the free disk, at most 10 GiB; from the bytes used already."""

    def budget(used: int) -> int:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        room = os.statvfs(there)
        return min(LARGEST_BUDGET, (room.f_bavail * room.f_frsize + used) // _SHARE)

    return budget


class SpoolQueue:
    """The queue in `folder`, whose files are written through `disk`, a local backend there. Safe for many threads."""

    def __init__(self, disk: Backend, folder: Path, budget: Callable[[int], int]) -> None:
        self._disk = disk
        self._folder = folder
        self._budget = budget
        self._lock = threading.RLock()
        self._by_number: dict[int, Queued] = {}
        self._by_key: dict[str, Queued] = {}
        self._keys: list[str] = []
        self._seen = -1
        self._last = 0

    @property
    def bytes(self) -> int:
        """Bytes that wait."""
        return sum(found.size for found in self.items())

    @property
    def budget(self) -> int:
        """Bytes that may wait."""
        return self._budget(self.bytes)

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        with self._lock:
            self._refresh()
            return not self._by_number

    def items(self) -> list[Queued]:
        """What waits, in order."""
        with self._lock:
            self._refresh()
            return list(self._by_number.values())

    def get(self, key: str) -> Queued | None:
        """The object that waits under `key`."""
        with self._lock:
            self._refresh()
            return self._by_key.get(key)

    def listed(self, prefix: str) -> list[Queued]:
        """What waits under keys that begin with `prefix`, in order of key."""
        with self._lock:
            self._refresh()
            found = []
            for key in self._keys[bisect_left(self._keys, prefix) :]:
                if not key.startswith(prefix):
                    break
                found.append(self._by_key[key])
            return found

    def read(self, item: Queued, offset: int = 0, length: int | None = None) -> Buffer:
        """Bytes of its content. Raises NotFoundError where it went up meanwhile."""
        return self._disk.read(item.name, item.start + offset, length)

    def append(self, key: str, parts: Sequence[Buffer]) -> Queued:
        """Keep an object, durably. Raises ObjectExistsError, NoSpaceError (disk or budget), LocalIOError."""
        size = sum(map(len, parts))
        with self._lock, _local_errors(self._folder), locked(self._folder, "append"):
            self._refresh(always=True)
            if key in self._by_key:
                raise ObjectExistsError(f"{key} waits already in {self._folder}")
            used = self.bytes
            budget = self._budget(used)
            if used + size > budget:
                raise NoSpaceError(
                    f"{used:,} bytes wait in {self._folder} for a store that is away, and at most {budget:,} may: "
                    "nothing more is kept until they went up; what waits stays"
                )
            number = max(self._last, *self._by_number, 0) + 1
            item = Queued(number, key, size, time.time())
            self._disk.create(item.name, [f"{key}\n".encode(), *parts])
            self._last = number
            self._refresh(always=True)
            return item

    def remove(self, item: Queued) -> bool:
        """Take an object out; False where it was out already."""
        with self._lock, _local_errors(self._folder):
            try:
                self._disk.delete(item.name)
            except NotFoundError:
                return False
            finally:
                self._refresh(always=True)
            return True

    def _refresh(self, *, always: bool = False) -> None:
        """Look at the folder again, where it may have changed: other processes add and remove too."""
        stamp = _stamp(self._folder / QUEUE)
        if not always and stamp == self._seen and time.time_ns() - stamp > _SETTLED_NS:
            return
        self._seen = stamp
        known, self._by_number = self._by_number, {}
        for number in _numbers(self._folder / QUEUE):
            item = known.get(number) or self._look(f"{QUEUE}{number:0{_DIGITS}}", number)
            if item is not None:
                self._by_number[number] = item
        if self._by_number.keys() != known.keys():
            self._by_key = {item.key: item for item in self._by_number.values()}
            self._keys = sorted(self._by_key)

    def _look(self, name: str, number: int) -> Queued | None:
        """What is in a file that this process did not know; None where it has gone up meanwhile."""
        with suppress(NotFoundError), _local_errors(self._folder):
            found = self._disk.stat(name)
            head = bytes(self._disk.read(name, 0, LONGEST_KEY + 1))
            key = head.partition(b"\n")[0].decode("ascii", "replace")
            return Queued(number, key, found.size - len(key) - 1, found.created)
        return None


def _numbers(folder: Path) -> list[int]:
    """The numbers of the files in `folder`, in order; names with a leading dot are files being written."""
    try:
        names = os.listdir(folder)  # noqa: PTH208  # names are all that is wanted, of thousands of files
        return sorted(int(name) for name in names if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise LocalIOError(f"the spool {folder} can not be listed: {error.strerror}") from error


def _stamp(folder: Path) -> int:
    """When names in `folder` changed last; 0 where there is none."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


@contextmanager
def _local_errors(folder: Path) -> Iterator[None]:
    """What this machine's disk refuses is not the store's doing."""
    try:
        yield
    except StoreUnavailableError as error:
        raise LocalIOError(f"the spool {folder} can not be used: {error}") from error
    except OSError as error:
        raise LocalIOError(f"the spool {folder} can not be used: {error.strerror}") from error


class BusyLockError(Exception):
    """Another process, or thread, holds the lock."""


@contextmanager
def locked(folder: Path, name: str, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock `name` of `folder`. Raises BusyLockError where it is taken, without `wait`; OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyLockError(name) from None
        yield
    finally:
        os.close(descriptor)
