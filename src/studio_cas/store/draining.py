"""Sends what waits in a spool: in order, each object once, and no version whose packs are not all in the store.

probe → pin every pack that waits or is needed → which of the needed are condemned or gone? → data, trees, version, one
after another → unpin

Whatever stops it, the next `step`, here or in another process, goes on: an object leaves the queue after it is in the
store, and one that is there already with the same bytes was sent by somebody who died before he could say so. A version
whose packs the collector removed meanwhile cannot go up; it is set aside, and the next capture stores them again.
"""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, Final

from studio_cas.backends.spool_queue import BusyLockError, locked
from studio_cas.backends.spooling import AWAY, FULL
from studio_cas.errors import (
    CorruptError,
    NoSpaceError,
    NotFoundError,
    ObjectExistsError,
    StoreUnavailableError,
    StudioError,
)
from studio_cas.formats import keys, signature, version
from studio_cas.store import guard, signing
from studio_cas.store.renumbering import Renumbering
from studio_cas.store.spool_folder import LOST, is_pack
from studio_cas.store.store import Store
from studio_cas.store.trees import TreeReader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from studio_cas.backends.base import Backend
    from studio_cas.backends.spool_queue import Queued
    from studio_cas.backends.spooling import Spooling
    from studio_cas.formats.version import Version
    from studio_cas.ids import Buffer, PackId

ASIDE: Final = "aside/"
IDLE: Final = 60.0  # seconds between looks at an empty queue, which other processes fill too
BUSY: Final = 5.0  # seconds until it is seen whether another process still sends
ROUND: Final = 256  # objects that are looked at together
SINGLY: Final = 300  # more packs than this are looked up in a listing


class Drainer:
    """Sends the queue of `spool`, the backend of `store`; `at_once` packs at a time. One thread calls it."""

    def __init__(self, store: Store, spool: Spooling, at_once: int = 2) -> None:
        self._store = store
        self._spool = spool
        self._remote = Store(spool.remote, store.config, store.home)
        self._at_once = at_once
        self._pins: list[str] = []
        self._moved = False

    def step(self) -> float:
        """Do what is due. Gives the seconds until there may be more to do; `spool.changed` may tell so earlier."""
        breaker = self._spool.breaker
        if pause := breaker.pause():
            return pause
        try:
            if breaker.error is not None:
                check_same(self._spool)
                breaker.close()
            if not self._spool.queue.is_empty():
                with locked(self._spool.folder, "drain", wait=False):
                    self._drain()
            self._spool.came_back()
        except BusyLockError:
            return BUSY
        except StoreUnavailableError as error:
            return self._stopped(error)
        except (StudioError, OSError) as error:  # a full bucket, a disk here that fails
            return self._stopped(StoreUnavailableError(str(error)))
        return IDLE

    def _stopped(self, error: StoreUnavailableError) -> float:
        """Wait for the next probe, and say why."""
        self._spool.breaker.probe_failed(error)
        self._spool.tell(AWAY, error)
        return self._spool.breaker.pause()

    def _took(self, item: Queued) -> None:
        """The store has the object: it waits no more."""
        self._spool.queue.remove(item)
        if not self._moved:
            self._moved = True
            self._spool.came_back()

    def _drain(self) -> None:
        queue = self._spool.queue
        self._moved = False
        renumbering = Renumbering(self._spool.disk)
        session = _Session(self._store, self._remote)
        try:
            while items := queue.items()[:ROUND]:
                self._round(items, session, renumbering)
                self._spool.untell(FULL)
        finally:
            self._pins += session.pins
        renumbering.forget()
        self._unpin()

    def _unpin(self) -> None:
        """Remove the pins of this session, and those that an interrupted one left."""
        while self._pins:
            guard.remove_pin(self._remote, self._pins[-1])
            self._pins.pop()

    def _round(self, items: list[Queued], session: _Session, renumbering: Renumbering) -> None:
        """Send `items`."""
        wanted = {item.number: self._packs_of(item) for item in items if item.key.startswith(keys.VERSIONS)}
        session.protect([item.key for item in self._spool.queue.items() if is_pack(item.key)], wanted.values())
        for kind, run in groupby(items, key=_kind):
            if kind == keys.PACKS:
                self._send_packs(list(run), session)
                continue
            for item in run:
                if kind == keys.VERSIONS:
                    self._publish(item, wanted[item.number], session, renumbering)
                else:
                    self._send(item, session)

    def _packs_of(self, item: Queued) -> dict[str, PackId] | str:
        """The packs that a version that waits needs, by key; or the sentence that says what is wrong with it."""
        try:
            record = version.decode(bytes(self._spool.queue.read(item)))
            root = TreeReader(self._store, record).root
        except (CorruptError, NotFoundError) as error:
            return str(error)
        trees = {keys.pack(pack, tree=True): pack for pack in record.tree_packs}
        return trees | {keys.pack(pack): pack for pack in root.packs}

    def _send_packs(self, items: list[Queued], session: _Session) -> None:
        """Data packs, whose order among themselves means nothing: a few at once."""
        if self._at_once == 1 or len(items) == 1:
            for item in items:
                self._send(item, session)
            return
        with ThreadPoolExecutor(self._at_once, "drain") as pool:
            for _ in pool.map(lambda item: self._send(item, session), items):
                pass

    def _send(self, item: Queued, session: _Session) -> None:
        """An object that keeps its key. One that is there with other bytes was first, and stays."""
        try:
            content = self._spool.queue.read(item)
        except NotFoundError:
            return  # somebody took it out: a pin that is needed no more
        if create_once(self._remote.backend, item.key, content):
            session.present.add(item.key)
            self._spool.remember(item.key, [content])
            self._took(item)
        else:
            self._set_aside(item, f"{item.key} is in the store already, with other bytes")

    def _publish(
        self, item: Queued, wanted: dict[str, PackId] | str, session: _Session, renumbering: Renumbering
    ) -> None:
        """A version, under its number or the next free one, when all its packs are there."""
        if isinstance(wanted, str):
            self._set_aside(item, wanted)
            return
        lost = session.lost(wanted)
        if lost:
            self._lose(item, lost)
            return
        key = self._create_version(item, renumbering)
        lost = session.lost_since(wanted)
        if lost:  # somebody removed our pin: the version may be incomplete, and is not acknowledged
            self._lose(item, lost)
            return
        self._took(item)
        self.forget_aside(key.rpartition("/")[0])

    def _create_version(self, item: Queued, renumbering: Renumbering) -> str:
        data = bytes(self._spool.queue.read(item))
        made = version.decode(data)
        artifact = keys.versions(made.experiment, made.tag)
        number = renumbering.number(artifact, made.number)
        parent = renumbering.parent(artifact, made.parent)
        while True:
            renumbering.decide(artifact, made.number, number)
            record = self._record(data, made, number, parent)
            key = keys.version(made.experiment, made.tag, number)
            if create_once(self._remote.backend, key, record):
                self._spool.remember(key, [record])
                signing.remember(self._remote, made, number, record)
                return key
            newest = next(self._remote.backend.list(artifact, limit=1), None)
            number = max(number, keys.version_number(newest.key) if newest else 0) + 1

    def _record(self, data: bytes, made: Version, number: int, parent: int | None) -> bytes:
        """The record that goes up: signed anew, as it has another number, or comes after another version, than it said.

        Where it was signed, and the key is gone from this machine, it goes up as it is, or unsigned.
        """
        same = (number, parent) == (made.number, made.parent)
        signed = signature.read(data)
        if signed is None:
            return data if same else version.renumbered(data, number, parent)
        previous = signing.predecessor(self._remote.backend, made.experiment, made.tag, number)
        if same and signed.statement.previous == previous:
            return data
        plain = version.renumbered(data, number, parent)
        if self._remote.signer is None:
            return plain
        return self._remote.signer.sign(plain, self._remote.config.store_id, previous, signed.statement.origin)

    def _lose(self, item: Queued, lost: dict[str, PackId]) -> None:
        """A version cannot go up. The caches that would lead to the lost packs again are forgotten."""
        for pack in lost.values():
            with suppress(ObjectExistsError):
                self._spool.disk.create(f"{LOST}/{pack.hex()}", [])
        self._store.catalog.forget(lost.values())
        shutil.rmtree(self._store.states_dir, ignore_errors=True)
        count = f"{len(lost)} packs" if len(lost) > 1 else "a pack"
        self._set_aside(item, f"{count} that it shares with versions of others went from the store while it waited")

    def _set_aside(self, item: Queued, reason: str) -> None:
        """Keep an object that cannot go up, out of the way of the others."""
        head = json.dumps({"name": name_of(item.key), "queued": item.created, "reason": reason}).encode() + b"\n"
        with suppress(ObjectExistsError):
            self._spool.disk.create(ASIDE + item.key, [head, self._spool.queue.read(item)])
        self._spool.queue.remove(item)

    def forget_aside(self, artifact: str) -> None:
        """A later version of the artifact went up: it has what those set aside had, or what came after it."""
        for found in list(self._spool.disk.list(f"{ASIDE}{artifact}/")):
            self._spool.disk.delete(found.key)


class _Session:
    """What one drain knows of the store: its pins, the packs that they keep, those that are there, and those not."""

    def __init__(self, store: Store, remote: Store) -> None:
        self._store = store
        self._remote = remote
        self._pinned: set[str] = set()
        self._lost: set[str] = set()
        self._first_waiting: set[str] = set()
        self.present: set[str] = set()
        self.pins: list[str] = []

    def protect(self, waiting: list[str], needed: Iterable[dict[str, PackId] | str]) -> None:
        """Pin all these packs; then see which of the needed ones are condemned or gone already."""
        adopted = {key for packs in needed if isinstance(packs, dict) for key in packs}
        fresh = {*waiting, *adopted} - self._pinned
        if fresh:
            self.pins.append(guard.create_pin(self._remote, _ids(fresh)))
            self._pinned |= fresh
        condemned = guard.condemned(self._remote, _ids(adopted), self._store.catalog)
        self._lost |= {key for key in adopted if keys.pack_id_of(key) in condemned}
        unknown = adopted - self.present - self._lost - set(waiting)
        there = self._found(unknown)
        self.present |= there
        self._lost |= unknown - there

    def _found(self, unknown: set[str]) -> set[str]:
        """Those of `unknown` that are in the store."""
        backend = self._remote.backend
        if len(unknown) > SINGLY:
            return unknown & {found.key for prefix in (keys.PACKS, keys.TREES) for found in backend.list(prefix)}
        there = set()
        for key in unknown:
            with suppress(NotFoundError):
                there.add(backend.stat(key).key)
        return there

    def lost(self, wanted: dict[str, PackId]) -> dict[str, PackId]:
        """Those of `wanted` that must not be named."""
        return {key: pack for key, pack in wanted.items() if key in self._lost}

    def lost_since(self, wanted: dict[str, PackId]) -> dict[str, PackId]:
        """The same after the version was created: nothing, unless a pin is gone and a collector was at work."""
        if all(guard.is_pinned(self._remote, pin) for pin in self.pins):
            return {}
        condemned = guard.condemned(self._remote, frozenset(wanted.values()), self._store.catalog)
        return {key: pack for key, pack in wanted.items() if pack in condemned}


def check_same(spool: Spooling) -> None:
    """See that the store answers, and is the one that the spool belongs to. Raises StoreUnavailableError."""
    try:
        expected: bytes | None = bytes(spool.memory.recall(keys.FORMAT))
    except NotFoundError:
        expected = None
    try:
        found = bytes(spool.remote.read(keys.FORMAT))
    except NotFoundError:
        if expected is None:
            return
        next(spool.remote.list("", limit=1), None)  # a bucket that is gone says so itself
        raise StoreUnavailableError(f"{spool.url} is no store any more: its {keys.FORMAT} is gone") from None
    if expected not in (None, found):
        if not spool.queue.is_empty():
            raise StoreUnavailableError(
                f"{spool.url} is another store than the one for which objects wait in {spool.folder}: "
                "move that folder away to begin anew"
            )
        spool.memory.forget()
        spool.memory.keep(keys.FORMAT, [found])


def create_once(backend: Backend, key: str, content: Buffer) -> bool:
    """Create the object; also True where it is there with these very bytes, False where with others."""
    try:
        backend.create(key, [content])
    except ObjectExistsError:
        return backend.stat(key).size == len(content) and bytes(backend.read(key)) == bytes(content)
    except NoSpaceError as error:
        raise StoreUnavailableError(str(error)) from error
    return True


def name_of(key: str) -> str:
    """How a person calls the object: a version by its name, anything else by its key."""
    if not key.startswith(keys.VERSIONS):
        return key
    experiment, tag = key.split("/")[1:3]
    return f"{experiment}/{tag}@{keys.version_number(key)}"


def _kind(item: Queued) -> str:
    return f"{item.key.partition('/')[0]}/"


def _ids(found: Iterable[str]) -> frozenset[PackId]:
    return frozenset(map(keys.pack_id_of, found))
