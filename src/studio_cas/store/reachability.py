"""Which packs pins and versions name, read twice: what has not changed since the first time is not read again.

Whatever cannot be read, or does not make sense, raises: nobody can say then what is needed. Memory: 24 bytes a version
between the two times, besides the packs that the caller keeps.
"""

from __future__ import annotations

from array import array
from itertools import groupby
from typing import TYPE_CHECKING, Final

from studio_cas.errors import CorruptError, NotFoundError, TransientError
from studio_cas.formats import collection, keys
from studio_cas.store import versions
from studio_cas.store.trees import TreeReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from studio_cas.backends.base import ObjectStat
    from studio_cas.formats.version import Version
    from studio_cas.ids import PackId
    from studio_cas.store.store import Store

TICK: Final = 60.0  # seconds; by far more than what tells two objects apart that had one name after the other
DOUBT: Final = "nothing was deleted, as nobody can say what it needs"


def packs_of(store: Store, version: Version) -> frozenset[PackId]:
    """All packs that `version` needs, of data and of trees: they stand in its record and its root.

    Raises CorruptError also where the two do not agree, as the record alone has no checksum.
    """
    tree = TreeReader(store, version)
    trees = {row.place.pack for row in tree.root.leaves if row.place}
    if version.tree.place is not None:
        trees.add(version.tree.place.pack)
    if trees != set(version.tree_packs):
        raise CorruptError(f"{version.name}: its version record is damaged: it names other tree packs than its root")
    return tree.named


class Reachability:
    """Tells `keep` of packs that are needed, each time that `look` is called.

    `settled`: by the clock of the store, a moment that had passed when versions were listed for the first time.
    """

    def __init__(self, store: Store, keep: Callable[[Iterable[PackId]], None], settled: float) -> None:
        self._store = store
        self._keep = keep
        self._settled = settled - TICK
        self._pins: set[str] = set()
        self._rows: dict[str, array[float]] = {}
        self.versions = 0

    def look(self, unpinned: frozenset[str] = frozenset()) -> None:
        """Look at pins, but for those `unpinned`, and then at versions. This order matters: docs/concurrency.md.

        Raises CorruptError, and TransientError where a listing left something out.
        """
        self._look_at_pins(unpinned)
        known, self._rows = self._rows, {}
        listing = self._noted(self._store.backend.list(keys.VERSIONS), known)
        for packs in versions.read_ahead(listing, self._read, self._store.backend):
            self._keep(packs)
        self._check_gone(_missing(known, self._rows))

    def _look_at_pins(self, unpinned: frozenset[str]) -> None:
        found = {one.key for one in self._store.backend.list(keys.PINS)}
        self._check_gone(iter(sorted(self._pins - found)))
        fresh = sorted(found - self._pins - unpinned)
        for packs in versions.read_ahead(iter(fresh), self._read_pin, self._store.backend):
            self._keep(packs)
        self._pins.update(fresh)

    def _read_pin(self, key: str) -> frozenset[PackId]:
        try:
            return collection.decode(self._store.backend.read(key), key)
        except NotFoundError:
            return frozenset()  # its version is there by now, or never will be
        except CorruptError as error:
            raise CorruptError(f"{error}; {DOUBT}; a pin that is older than --grace is removed") from error

    def _noted(self, listing: Iterator[ObjectStat], known: dict[str, array[float]]) -> Iterator[str]:
        """The keys that have to be read; all are remembered."""
        self.versions = 0
        for folder, found in groupby(listing, lambda one: one.key.rpartition("/")[0]):
            before = known.get(folder, array("d"))
            rows = {number: (size, made) for number, size, made in _triples(before)}
            after = self._rows.setdefault(folder, array("d"))
            for one in found:
                number = keys.version_number(one.key)
                self.versions += 1
                after.extend((number, one.size, one.created))
                if rows.get(number) != (one.size, one.created) or one.created >= self._settled:
                    yield one.key

    def _read(self, key: str) -> frozenset[PackId]:
        _, experiment, tag, _ = key.split("/")
        try:
            return packs_of(self._store, versions.read(self._store, experiment, tag, keys.version_number(key)))
        except NotFoundError:
            return frozenset()  # it was removed just now
        except CorruptError as error:
            raise CorruptError(f"{error}; {DOUBT}: bring it back, or remove that version on purpose") from error

    def _check_gone(self, gone: Iterator[str]) -> None:
        """What is listed no more was removed, or else the listing is not to be believed."""

        def is_there(key: str) -> str:
            try:
                self._store.backend.stat(key)
            except NotFoundError:
                return ""
            return key

        for key in filter(None, versions.read_ahead(gone, is_there, self._store.backend)):
            raise TransientError(f"{self._store.url}: a listing left out {key}, which is there: nothing was deleted")


def _triples(row: array[float]) -> Iterator[tuple[int, int, float]]:
    """Number, size and time of each version."""
    values = iter(row)
    return ((int(number), int(size), made) for number, size, made in zip(values, values, values, strict=True))


def _missing(before: dict[str, array[float]], after: dict[str, array[float]]) -> Iterator[str]:
    """The keys that were listed the first time, and were not the second."""
    for folder, rows in before.items():
        left = {number for number, _, _ in _triples(after.get(folder, array("d")))}
        _, experiment, tag = folder.split("/")
        yield from (keys.version(experiment, tag, number) for number, _, _ in _triples(rows) if number not in left)
