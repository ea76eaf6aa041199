"""A store whose objects wait on this machine while it is away; a thread of this process sends them when it is back.

For the daemon, and for the captures of a run. A process that ends, or is killed, leaves what waits to the next one that
opens the same store in this way.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from studio_cas.backends.breaker import kind_of
from studio_cas.backends.spool_queue import SpoolQueue, share_of_disk
from studio_cas.backends.spooling import AWAY, FULL, Rules, Spooling, read_note
from studio_cas.errors import PermissionDeniedError, StoreUnavailableError, StudioError, TransientError
from studio_cas.formats import keys
from studio_cas.store.draining import ASIDE, IDLE, Drainer, check_same, name_of
from studio_cas.store.spool_folder import lost_packs, spool_folder
from studio_cas.store.store import Store, open_store, read_or_create, studio_home

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from studio_cas.backends.base import Backend
    from studio_cas.ids import PackId

_WAITING: Final = (keys.PACKS, keys.TREES, keys.VERSIONS, keys.HOOKS, keys.PINS)
_DECISIVE: Final = ("/owner", "/created")
_ADVICE: Final = {
    TransientError.kind: "when it is back",
    PermissionDeniedError.kind: "mend the credential (studio doctor tells more); then",
    StoreUnavailableError.kind: "bring the store back (studio doctor tells more); then",
}
_POLL: Final = 0.5  # seconds; other processes send too


def may_wait(key: str) -> bool:
    """Everything that captures and runs write, but for the records that decide whose an experiment is."""
    return key.startswith(_WAITING) or (key.startswith(keys.EXPERIMENTS) and not key.endswith(_DECISIVE))


RULES: Final = Rules(
    waits=may_wait,
    remembered=(keys.FORMAT, keys.VERSIONS, keys.TREES),
    newest=(keys.VERSIONS,),
    answered=(keys.VERSIONS,),
)


@dataclass(frozen=True, slots=True)
class SpoolState:
    """What waits for the store at `url`, for people to see.

    `since`: when the store went away, in seconds since the epoch, None while it answers; `kind` and `reason`: why, as
    an error has them. `versions`: names of the versions that wait, in order. Sizes in bytes. `full`: why nothing more
    is kept, None while there is room. `aside`: "name: why" of what can not go up.
    """

    url: str
    since: float | None
    kind: str
    reason: str
    objects: int
    bytes: int
    versions: tuple[str, ...]
    budget: int
    full: str | None
    aside: tuple[str, ...]

    def lines(self) -> list[str]:
        """All that a person should know: sentences."""
        told = [self.waiting] if self.waiting else []
        if self.since is not None and not told:
            told.append(f"{self.url} is away since {_minute(self.since)}: {self.reason}")
        if self.full:
            told.append(f"no further version is kept for {self.url}: {self.full}")
        return told + [f"{what}; the next version of it replaces it" for what in self.aside]

    @property
    def advice(self) -> str | None:
        """What to do; None where nothing waits, and the store answers."""
        if self.since is None and not self.objects:
            return None
        first = _ADVICE.get(self.kind, _ADVICE[TransientError.kind])
        return f"{first} a studio sync that runs sends everything by itself, and studio sync --resume where none does"

    @property
    def waiting(self) -> str | None:
        """What waits, and why, as a sentence; None where nothing does."""
        if not self.objects:
            return None
        count = f"{len(self.versions):,} versions wait" if len(self.versions) != 1 else f"{self.versions[0]} waits"
        away = self.since is not None
        why = f"which is away since {_minute(self.since or 0)}: {self.reason}" if away else "and go up now"
        return f"{count} on this machine for {self.url} ({self.bytes:,} bytes), {why}"


@dataclass
class SpooledStore(Store):
    """An open store with its spool. Closing it stops the sending; what waits stays."""

    spool: Spooling = field(kw_only=True)
    drainer: Drainer = field(init=False)
    _thread: threading.Thread | None = field(init=False, default=None)
    _ended: threading.Event = field(init=False, default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.drainer = Drainer(self, self.spool)

    def absent(self) -> frozenset[PackId]:
        """Packs that were lost while versions waited. Those that wait are no matter: the version waits behind them."""
        return lost_packs(self.spool.folder)

    def waits(self, key: str) -> bool:
        """Whether the object waits on this machine."""
        return self.spool.queue.get(key) is not None

    def went_up(self, key: str) -> None:
        """A version went up without waiting: what was set aside of its artifact needs nothing more."""
        self.drainer.forget_aside(key.rpartition("/")[0])

    def state(self) -> SpoolState:
        """What waits now."""
        state = _state(self.url, self.spool.disk, self.spool.queue)
        error = self.spool.breaker.error
        if error is not None and state.since is None:  # its note is being written
            return replace(state, since=time.time(), kind=error.kind, reason=str(error))
        return state

    def start(self) -> None:
        """Send what waits, in a thread of its own, until the store is closed."""
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)
        self._thread.start()

    def flush(self, seconds: float) -> SpoolState:
        """Try to send everything now; returns what waits when that is done, the store is away, or time is up."""
        end = time.monotonic() + seconds
        self.spool.breaker.hurry()
        if self._thread is None:
            self.drainer.step()
        self.spool.changed.set()
        while time.monotonic() < end and not self.spool.queue.is_empty():
            if self.spool.breaker.error is not None and self.spool.breaker.pause():
                break
            self._ended.wait(min(_POLL, max(0.0, end - time.monotonic())))
            if self._thread is None:
                self.drainer.step()
        return self.state()

    def close(self) -> None:
        """Stop sending, and release everything."""
        self._ended.set()
        self.spool.changed.set()
        if self._thread is not None:
            self._thread.join()
        super().close()

    def _run(self) -> None:
        while not self._ended.is_set():
            self.spool.changed.clear()
            try:
                pause = self.drainer.step()
            except Exception as error:  # noqa: BLE001  # the thread's edge: it is shown, and tried again
                self.spool.tell(AWAY, StudioError(f"unexpected {type(error).__name__}: {error}; a fault of studio"))
                pause = 0.0
                self._ended.wait(IDLE)
            if not self._ended.is_set():
                self.spool.changed.wait(pause)


def open_spooled(
    backend: Backend,
    *,
    home: Path | None = None,
    create: bool = True,
    budget: int | None = None,
) -> SpooledStore:
    """The store behind `backend`, with a spool in `home` for at most `budget` bytes; call `start` to have it sent.

    A store that is away can be opened where this machine has seen it before. Raises as `open_store` does.
    """
    home = home or studio_home()
    folder = spool_folder(home, backend.url)
    spool = Spooling(backend, folder, rules=RULES, budget=share_or(budget, folder))
    return open_with(spool, home, create=create)


def open_with(spool: Spooling, home: Path, *, create: bool = True) -> SpooledStore:
    """The store behind `spool`; see `open_spooled`."""
    try:
        if spool.breaker.error is None or spool.memory.stat(keys.FORMAT) is None:
            check_same(spool)
            spool.breaker.close()
    except StoreUnavailableError as error:
        if not (create and _begun_anew(spool, error)):
            spool.went_away(error)
    opened = open_store(spool, home=home, create=create)
    return SpooledStore(spool, opened.config, home, spool=spool)


def _begun_anew(spool: Spooling, error: StoreUnavailableError) -> bool:
    """Where the store is gone, and nothing waits for it: make it again, if it can be made."""
    if kind_of(error) is not StoreUnavailableError or not spool.queue.is_empty():
        return False
    with suppress(StoreUnavailableError):
        read_or_create(spool.remote, create=True)
        spool.memory.forget()
        return True
    return False


def spool_state(home: Path, url: str, budget: int | None = None) -> SpoolState | None:
    """What waits for the store at `url` on this machine, whoever keeps it; None where nothing ever did."""
    from studio_cas.backends.local import LocalBackend

    folder = spool_folder(home, url)
    if not folder.is_dir():
        return None
    disk = LocalBackend(folder)
    return _state(url, disk, SpoolQueue(disk, folder, share_or(budget, folder)))


def share_or(budget: int | None, folder: Path) -> Callable[[int], int]:
    """The budget that was configured, or a share of the disk."""
    return share_of_disk(folder) if budget is None else lambda _used: budget


def _state(url: str, disk: Backend, queue: SpoolQueue) -> SpoolState:
    items = queue.items()
    away, full = read_note(disk, AWAY), read_note(disk, FULL)
    return SpoolState(
        url=url,
        since=away.since if away else None,
        kind=away.kind if away else "",
        reason=away.reason if away else "",
        objects=len(items),
        bytes=sum(item.size for item in items),
        versions=tuple(name_of(item.key) for item in items if item.key.startswith(keys.VERSIONS)),
        budget=queue.budget,
        full=full.reason if full else None,
        aside=tuple(_told(disk, found.key) for found in disk.list(ASIDE)),
    )


def _minute(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment).astimezone():%Y-%m-%d %H:%M}"


def _told(disk: Backend, key: str) -> str:
    """One thing that was set aside, and why."""
    with suppress(StudioError, ValueError, KeyError):
        head = json.loads(bytes(disk.read(key)).partition(b"\n")[0])
        return f"{head['name']}: {head['reason']}"
    return key.removeprefix(ASIDE)
