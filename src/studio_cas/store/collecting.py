"""The collector: deletes packs that neither a pin nor a version names, beside any number of writers.

list packs → mark from pins, then versions → publish the condemned list → list pins, then versions again, unmark what
they name → delete the rest

Why that is safe is told in docs/concurrency.md. A collector that is killed leaves packs that the next one deletes. On
any doubt it stops before it deletes. Memory: about 250 bytes a pack that is in the store, and 24 a version.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from studio_cas.errors import ObjectExistsError
from studio_cas.formats import collection, keys
from studio_cas.ids import PackId
from studio_cas.progress import Silent
from studio_cas.store import guard, leftovers
from studio_cas.store.deleting import Amount, Deleting
from studio_cas.store.reachability import Reachability

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from studio_cas.progress import Progress
    from studio_cas.store.leftovers import Leftovers
    from studio_cas.store.store import Store

GRACE: Final = 86400.0
LIST_LENGTH: Final = 100_000  # packs on one condemned list: 3.6 MB, which a writer holds in memory
REPORTED: Final = 1000  # objects between two reports of progress


@dataclass(frozen=True, slots=True)
class Collection:
    """What a collection deleted, or would delete; and what stays.

    `data`, `trees`: packs that nobody names; `needed`: packs that pins and versions name; `young`: packs that nobody
    names and that are younger than the grace; `spared`: condemned, and then named by somebody after all; `versions`:
    how many there are. `leftovers`: what else nobody needs.
    """

    data: Amount
    trees: Amount
    leftovers: Leftovers
    needed: Amount
    young: Amount
    spared: Amount
    versions: int
    dry_run: bool


@dataclass(slots=True)
class _Packs:
    """The packs of one kind: size by id. `old` of them may be deleted, `kept` are named by somebody."""

    prefix: str
    old: dict[bytes, int] = field(default_factory=dict)
    young: dict[bytes, int] = field(default_factory=dict)
    kept: Amount = field(default_factory=Amount)

    def keep(self, packs: Iterable[PackId]) -> None:
        """Somebody names `packs`."""
        for pack in packs:
            for there in (self.old, self.young):
                size = there.pop(pack, None)
                if size is not None:
                    self.kept += Amount(1, size)

    def keys(self) -> Iterator[tuple[str, int]]:
        """The keys and sizes of the old ones."""
        tree = self.prefix == keys.TREES
        return ((keys.pack(PackId(pack), tree=tree), size) for pack, size in self.old.items())


def collect(
    store: Store, *, grace: float = GRACE, dry_run: bool = False, progress: Progress | None = None
) -> Collection:
    """Delete what nobody needs, or with `dry_run` only find it. Packs younger than `grace` seconds stay.

    Raises CorruptError (something cannot be read: nothing was deleted), PermissionDeniedError, TransientError.
    """
    told = progress or Silent()
    try:
        return _Collector(store, grace, told, dry_run=dry_run).run()
    finally:
        told.finish()


class _Collector:
    """One collection while it runs."""

    def __init__(self, store: Store, grace: float, progress: Progress, *, dry_run: bool) -> None:
        self._store = store
        self._grace = grace
        self._progress = progress
        self._dry_run = dry_run
        self._data, self._trees = _Packs(keys.PACKS), _Packs(keys.TREES)
        self._newest = 0.0

    def run(self) -> Collection:
        """Do it."""
        now = time.time() if self._dry_run else leftovers.check_deletes(self._store)
        found = leftovers.find(self._store, now - self._grace)
        self._list(now - self._grace)
        there = frozenset((*self._data.old, *self._data.young))
        reachable = Reachability(self._store, self._keep, self._newest)
        self._progress.start("read versions")
        reachable.look(frozenset(found.pins))
        spared = Amount()
        if not self._dry_run:
            self._publish()
            leftovers.remove_pins(self._store, found.pins)
            condemned = self._amounts()
            if condemned.objects:
                self._progress.start("read versions again")
                reachable.look()
            spared = condemned - self._amounts()
        data, trees = self._delete(self._data), self._delete(self._trees)
        rest = leftovers.remove(self._store, found, there.difference(self._data.old), dry_run=self._dry_run)
        return Collection(
            data=data,
            trees=trees,
            leftovers=rest,
            needed=self._data.kept + self._trees.kept,
            young=Amount.of(self._data.young.values()) + Amount.of(self._trees.young.values()),
            spared=spared,
            versions=reachable.versions,
            dry_run=self._dry_run,
        )

    def _list(self, before: float) -> None:
        """Learn which packs there are; those that were created after `before` are young."""
        self._progress.start("list packs")
        for packs in (self._data, self._trees):
            for count, found in enumerate(self._store.backend.list(packs.prefix), 1):
                pack = keys.pack_id_of(found.key)
                (packs.old if found.created <= before else packs.young)[bytes(pack)] = found.size
                self._newest = max(self._newest, found.created)
                if not count % REPORTED:
                    self._progress.advance(0, REPORTED)

    def _keep(self, packs: Iterable[PackId]) -> None:
        named = tuple(packs)
        self._data.keep(named)
        self._trees.keep(named)
        self._progress.advance(0, 1)

    def _amounts(self) -> Amount:
        return Amount.of(self._data.old.values()) + Amount.of(self._trees.old.values())

    def _publish(self) -> None:
        """Create condemned lists of all that is old and unmarked, and on none yet, where all lists are there."""
        names = [found.key for found in guard.list_lists(self._store)]
        fresh = {*self._data.old, *self._trees.old}
        if fresh and guard.is_complete(names):
            for name in names:
                fresh -= guard.read_list(self._store, name)
        number = keys.list_number(names[0]) + 1 if names else 1
        packs = iter(sorted(fresh))
        while piece := tuple(map(PackId, islice(packs, LIST_LENGTH))):
            number = self._create_list(number, piece) + 1
        if fresh:
            guard.condemned(self._store, frozenset())  # so that the catalog forgets what lies in them

    def _create_list(self, number: int, packs: tuple[PackId, ...]) -> int:
        """The number under which the list was created: the first that is free."""
        while True:
            try:
                self._store.backend.create(keys.condemned_list(number), [collection.encode(packs)])
            except ObjectExistsError:
                number += 1
            else:
                return number

    def _delete(self, packs: _Packs) -> Amount:
        """Delete the old ones; how many that were, of those that somebody else did not delete first."""
        total = Amount.of(packs.old.values())
        if self._dry_run or not total.objects:
            return total
        self._progress.start(f"delete {packs.prefix}", total.bytes)
        with Deleting(self._store.backend, self._progress) as deleting:
            return deleting.delete(packs.keys())
