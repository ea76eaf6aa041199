"""One cycle of one pair: is the store still ours, capture, and what went wrong as a state."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio_cas.errors import NotFoundError, StoreUnavailableError, StudioError, TransientError
from studio_cas.formats import keys, store_config
from studio_cas.store.spooled import SpooledStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from studio_cas.progress import Progress
    from studio_cas.store.store import Store
    from studio_cas.sync.spec import Pair
    from studio_cas.worktree.capture import CaptureResult

REMOTE_CHECK = 600.0  # seconds between two looks at the configuration of a store that costs a round trip


@dataclass(frozen=True, slots=True)
class Cycle:
    """How a cycle ended: with a result, or an error, or neither where an optional pair is empty.

    `seconds` is its time.
    """

    result: CaptureResult | None
    error: Exception | None
    seconds: float


class Keeper:
    """Opens the store when it is first needed, and again when another one has taken its place.

    A store that was deleted and made again knows nothing of what we remember storing: a version that relied on it would
    lack its bytes. So before a cycle its configuration is read, each time where that costs no round trip.
    """

    def __init__(self, open_store: Callable[[], Store], clock: Callable[[], float] = time.monotonic) -> None:
        self._open = open_store
        self._clock = clock
        self._lock = threading.Lock()
        self._opened: list[Store] = []
        self._checked = float("-inf")

    def store(self) -> Store:
        """The store, which is there. Raises what opening it raises, and StoreUnavailableError where it is gone."""
        with self._lock:
            if self._opened and (self._opened[-1].backend.local or self._clock() - self._checked > REMOTE_CHECK):
                self._check(self._opened[-1])
            if not self._opened:
                self._reopen()
            self._checked = self._clock()
            return self._opened[-1]

    def doubt(self) -> None:
        """Something went wrong: look at the store before it is used again."""
        self._checked = float("-inf")

    def _check(self, store: Store) -> None:
        try:
            config = store_config.decode(bytes(store.backend.read(keys.FORMAT)))
        except NotFoundError as error:
            gone = StoreUnavailableError(f"the store {store.url} is gone: it was emptied or deleted")
            if not isinstance(store, SpooledStore):
                raise gone from error
            store.spool.went_away(gone)  # what is captured from now on is kept on this machine
            return
        except TransientError:
            return  # it cannot be asked now, which the capture will find out, or a queue of its own bridges
        if config.store_id != store.config.store_id:
            self._reopen()

    def _reopen(self) -> None:
        try:
            self._opened.append(self._open())
        except NotFoundError as error:
            raise StoreUnavailableError(f"there is no store: {error}") from error

    def send(self, seconds: float) -> list[str]:
        """Try to send what waits on this machine for a store that was away; sentences that say what still does."""
        return [told for store in self._spooled if (told := store.flush(seconds).waiting)]

    def aside(self, pairs: Iterable[Pair]) -> list[str]:
        """What cannot go up of the versions of `pairs`, which were captured while the store was away, in sentences."""
        names = tuple(f"{pair.name}@" for pair in pairs)
        return [what for store in self._spooled for what in store.state().aside if what.startswith(names)]

    @property
    def _spooled(self) -> list[SpooledStore]:
        return [store for store in self._opened if isinstance(store, SpooledStore)]

    def close(self) -> None:
        """Close what was opened."""
        for store in self._opened:
            store.close()
        self._opened = []


def run_cycle(
    keeper: Keeper,
    prepare: Callable[[], Pair],
    *,
    user: str,
    compression: bool,
    final: bool,
    progress: Progress | None,
) -> Cycle:
    """Capture the pair that `prepare` gives once. Whatever goes wrong is in the answer."""
    from studio_cas.worktree.capture import capture

    began = time.monotonic()
    result, error = None, None
    try:
        pair = prepare()
        if not (pair.optional and is_empty(pair.path)):
            result = capture(
                keeper.store(),
                pair.path,
                pair.experiment,
                pair.tag,
                final=final,
                exclude=pair.exclude,
                ignore=pair.ignore,
                progress=progress,
                user=user,
                compression=compression,
            )
    except Exception as raised:  # noqa: BLE001  # whatever it is, the other pairs must not be lost by it
        error = raised
        if not isinstance(raised, StudioError) or isinstance(raised, StoreUnavailableError):
            keeper.doubt()
    return Cycle(result, error, time.monotonic() - began)


def is_empty(path: Path) -> bool:
    """Whether there is nothing to capture yet."""
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is None
    except NotADirectoryError:
        return False
    except OSError:
        return True
