"""A decorator that keeps objects on this machine while their store is away, and the metadata that work needs then.

While the store answers, everything is passed through. When it does not (no network, a revoked credential, a bucket
that is gone), an object that is created waits in a queue on the disk, and so does every later one until the queue is
empty: what was created first goes up first. Reads and listings see what waits as if it were in the store; what the
queue does not have, and cannot be asked for, is answered from what this machine remembers of the store.

Nothing here sends the queue: see store/draining. A request of the foreground never probes a store that is away.
"""

from __future__ import annotations

import heapq
import json
import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, TypeVar

from studio_cas.backends.breaker import Breaker, kind_of
from studio_cas.backends.keycheck import check_folder, check_key, check_prefix
from studio_cas.backends.local import LocalBackend
from studio_cas.backends.spool_memory import Remembered
from studio_cas.backends.spool_queue import SpoolQueue, share_of_disk
from studio_cas.errors import (
    NoSpaceError,
    NotFoundError,
    ObjectExistsError,
    PermissionDeniedError,
    StoreUnavailableError,
    StudioError,
    TransientError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from studio_cas.backends.base import Backend, ObjectStat
    from studio_cas.ids import Buffer

T = TypeVar("T")
AWAY: Final = "notes/away"
FULL: Final = "notes/full"


@dataclass(frozen=True, slots=True)
class Rules:
    """What a store's keys mean to its spool; prefixes of keys.

    `waits`: may an object with this key wait? (One that decides a race may not.) `remembered`: objects to remember when
    they are written or read; `newest`: those of them of which the first in a folder is enough; `answered`: folders
    whose listings may be answered from here while the store is away.
    """

    waits: Callable[[str], bool] = lambda _key: True
    remembered: tuple[str, ...] = ()
    newest: tuple[str, ...] = ()
    answered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """What a spool tells other processes: since when (seconds since the epoch), and why, in a sentence."""

    since: float
    kind: str
    reason: str


class Spooling:
    """`remote`, with a spool in `folder`. `budget` gives the bytes that may wait, from those that do.

    `clock` is monotonic, `wall` tells the time, in seconds; `disk` is where the folder's files are written.
    """

    def __init__(
        self,
        remote: Backend,
        folder: Path,
        *,
        rules: Rules | None = None,
        budget: Callable[[int], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        disk: Backend | None = None,
    ) -> None:
        self.remote = remote
        self.folder = folder
        self.rules = rules or Rules()
        self.disk = disk or LocalBackend(folder)
        self.queue = SpoolQueue(self.disk, folder, budget or share_of_disk(folder))
        self.memory = Remembered(self.disk, self.rules.newest)
        self.breaker = Breaker(clock, jitter)
        self.changed = threading.Event()
        """Set when something happened that whoever sends the queue should know."""
        self._wall = wall
        self._full = False
        left = read_note(self.disk, AWAY)
        if left or not self.queue.is_empty():  # an earlier process left this: probe before anything waits for the store
            self.breaker.trip(TransientError(left.reason if left else "it was not asked yet"))
            self.breaker.hurry()

    @property
    def url(self) -> str:
        """As the store."""
        return self.remote.url

    @property
    def local(self) -> bool:
        """As the store."""
        return self.remote.local

    def prepare(self) -> None:
        """As the store; nothing is prepared while it is away."""
        self._asked(self.remote.prepare)

    def create(self, key: str, parts: Sequence[Buffer]) -> None:
        """Create the object in the store, or let it wait. Raises as the port says, and LocalIOError.

        Whether the key is taken in the store is found out when the object goes up.
        """
        if not self.rules.waits(check_key(key)):
            return self._asked(lambda: self.remote.create(key, parts))
        if self.breaker.error is None and self.queue.is_empty():
            try:
                self.remote.create(key, parts)
            except StoreUnavailableError as error:
                self.went_away(error)
            else:
                return self.remember(key, parts)
        return self._append(key, parts)

    def read(self, key: str, offset: int = 0, length: int | None = None) -> Buffer:
        """Bytes of the object, from the queue, the store, or memory. Raises NotFoundError, StoreUnavailableError."""
        item = self.queue.get(check_key(key))
        if item is not None:
            with suppress(NotFoundError):  # it went up just now
                return self.queue.read(item, offset, length)
        try:
            piece = self._asked(lambda: self.remote.read(key, offset, length))
        except StoreUnavailableError:
            with suppress(NotFoundError):
                return self.memory.recall(key, offset, length)
            raise
        if key.startswith(self.rules.remembered):
            if not offset and length is None:
                self.memory.keep(key, [piece])
            else:
                self.memory.keep_range(key, offset, piece)
        return piece

    def read_tail(self, key: str, length: int) -> tuple[Buffer, int]:
        """The last `length` bytes, and the whole size; see `read`."""
        item = self.queue.get(check_key(key))
        if item is not None:
            with suppress(NotFoundError):
                start = max(0, item.size - length)
                return self.queue.read(item, start, item.size - start), item.size
        return self._asked(lambda: self.remote.read_tail(key, length))

    def stat(self, key: str) -> ObjectStat:
        """Size and time of the object; see `read`."""
        item = self.queue.get(check_key(key))
        if item is not None:
            return item.stat()
        try:
            return self._asked(lambda: self.remote.stat(key))
        except StoreUnavailableError:
            found = self.memory.stat(key)
            if found is None:
                raise
            return found

    def list(self, prefix: str, limit: int | None = None) -> Iterator[ObjectStat]:
        """What is in the store and what waits, in order of key; while the store is away, what is remembered of it."""
        check_prefix(prefix)
        there = self._listed(prefix, lambda: self.remote.list(prefix, limit), lambda: self.memory.listed(prefix))
        waiting = [item.stat() for item in self.queue.listed(prefix)]
        return islice(_merged(there, waiting), limit)

    def list_names(self, prefix: str) -> Iterator[str]:
        """The distinct next segments of both; see `list`."""
        check_folder(prefix)

        def remembered() -> Iterator[str]:
            return iter([_segment(found.key, prefix) for found in self.memory.listed(prefix)])

        there = self._listed(prefix, lambda: self.remote.list_names(prefix), remembered)
        return iter(sorted({*there, *(_segment(item.key, prefix) for item in self.queue.listed(prefix))}))

    def delete(self, key: str) -> None:
        """Take the object out of the queue, or delete it in the store."""
        item = self.queue.get(check_key(key))
        if item is not None and self.queue.remove(item):
            return
        try:
            self._asked(lambda: self.remote.delete(key))
        except NotFoundError:
            if item is None:
                raise

    def close(self) -> None:
        """Close the store; what waits stays."""
        self.remote.close()

    def went_away(self, error: StoreUnavailableError) -> None:
        """The store did not answer, or refused everything: nobody waits for it until a probe succeeds."""
        if self.breaker.trip(error):
            self.tell(AWAY, error)
            self.changed.set()

    def came_back(self) -> None:
        """The store answers, and takes what it is given."""
        self.breaker.close()
        self.breaker.reset()
        self.untell(AWAY)

    def remember(self, key: str, parts: Sequence[Buffer]) -> None:
        """An object that is in the store now."""
        if key.startswith(self.rules.remembered):
            self.memory.keep(key, parts)

    def tell(self, note: str, error: StudioError) -> None:
        """Leave a note for other processes; the time of an earlier one holds."""
        earlier = read_note(self.disk, note)
        if earlier and (earlier.kind, earlier.reason) == (error.kind, str(error)):
            return  # nobody who reads finds it missing for a moment
        told = {"since": earlier.since if earlier else self._wall(), "kind": error.kind, "reason": str(error)}
        self.untell(note)
        with suppress(StudioError):  # a full disk: then only this process knows
            self.disk.create(note, [json.dumps(told).encode()])

    def untell(self, note: str) -> None:
        """Remove a note."""
        with suppress(StudioError):
            self.disk.delete(note)

    def _append(self, key: str, parts: Sequence[Buffer]) -> None:
        if key.startswith(self.rules.newest) and self.memory.stat(key) is not None:
            raise ObjectExistsError(f"{self.url}: {key} exists already")
        try:
            self.queue.append(key, parts)
        except NoSpaceError as error:
            self._full = True
            self.tell(FULL, error)
            raise
        if self._full:
            self._full = False
            self.untell(FULL)
        self.changed.set()

    def _asked(self, request: Callable[[], T]) -> T:
        """The store's answer. Raises StoreUnavailableError at once while it is away."""
        error = self.breaker.error
        if error is None:
            try:
                return request()
            except PermissionDeniedError:
                raise  # of one object, or one act: only a create or a listing tells of the whole store
            except StoreUnavailableError as failed:
                self.went_away(failed)
                raise
        note = read_note(self.disk, AWAY)
        since = f" since {datetime.fromtimestamp(note.since).astimezone():%Y-%m-%d %H:%M}" if note else ""
        raise kind_of(error)(f"the store {self.url} is away{since}: {error}")

    def _listed(
        self, prefix: str, request: Callable[[], Iterator[T]], recall: Callable[[], Iterator[T]]
    ) -> Iterator[T]:
        """A listing by the store, whose first item has come; or one from memory."""

        def begin() -> Iterator[T]:
            found = request()
            first = list(islice(found, 1))
            return chain(first, found)

        try:
            return self._asked(begin)
        except StoreUnavailableError as error:
            self.went_away(error)
            if not prefix.startswith(self.rules.answered):
                raise
            return recall()


def read_note(disk: Backend, note: str) -> Note | None:
    """A note in the spool on `disk`."""
    try:
        told = json.loads(bytes(disk.read(note)))
        return Note(float(told["since"]), str(told["kind"]), str(told["reason"]))
    except (StudioError, ValueError, KeyError, TypeError):
        return None


def _merged(there: Iterator[ObjectStat], waiting: Sequence[ObjectStat]) -> Iterator[ObjectStat]:
    """Both, in order of key, each key once: an object may be going up at this moment."""
    last = ""
    for found in heapq.merge(waiting, there, key=lambda found: found.key):
        if found.key != last:
            yield found
        last = found.key


def _segment(key: str, prefix: str) -> str:
    """The segment of `key` after `prefix`."""
    return key[len(prefix) :].partition("/")[0]
