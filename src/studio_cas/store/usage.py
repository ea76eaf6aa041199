"""How much space experiments and artifacts take: logical, stored and shared bytes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio_cas.formats import keys
from studio_cas.store import versions
from studio_cas.store.trees import TreeReader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from studio_cas.ids import PackId
    from studio_cas.store.store import Store


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of one artifact over all its versions, or, where `tag` is empty, of a whole experiment.

    `logical`: the sum of the sizes of its versions; `latest`: the size of the newest (of each artifact); `stored`: the
    packs that its versions use, whole; `shared`: those of them that other artifacts, or experiments, use as well.
    """

    experiment: str
    tag: str
    versions: int
    logical: int
    latest: int
    stored: int
    shared: int


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """Experiments, their artifacts, and the packs of the store: `stored` bytes, of which `unused` are in no version."""

    experiments: tuple[Usage, ...]
    artifacts: tuple[Usage, ...]
    stored: int
    unused: int


def du(store: Store, experiment: str | None = None) -> StoreUsage:
    """Usage of one experiment, or of all. Reads every version record, and lists every pack."""
    sizes: dict[PackId, int] = {}
    for prefix in (keys.PACKS, keys.TREES):
        for found in store.backend.list(prefix):
            sizes[keys.pack_id_of(found.key)] = found.size
    ledger = _Ledger(sizes)
    for name in versions.list_experiments(store):
        for tag in versions.list_tags(store, name):
            newest = True
            for version in versions.list_versions(store, name, tag):
                ledger.add(name, tag, version.size, TreeReader(store, version).named, newest=newest)
                newest = False
    return ledger.close(experiment)


class _Ledger:
    """Adds up versions. An owner is (experiment, tag), or (experiment, "") for the whole experiment."""

    def __init__(self, sizes: dict[PackId, int]) -> None:
        self._sizes = sizes
        self._users: dict[PackId, set[tuple[str, str]]] = {}
        self._facts: dict[tuple[str, str], list[int]] = {}

    def add(self, experiment: str, tag: str, size: int, packs: Iterable[PackId], *, newest: bool) -> None:
        """Count one version."""
        for owner in ((experiment, tag), (experiment, "")):
            facts = self._facts.setdefault(owner, [0, 0, 0])
            facts[0] += 1
            facts[1] += size
            facts[2] += size if newest else 0
        for pack in packs:
            self._users.setdefault(pack, set()).add((experiment, tag))

    def close(self, experiment: str | None) -> StoreUsage:
        """The totals; of one experiment only where it is named."""
        stored: Counter[tuple[str, str]] = Counter()
        shared: Counter[tuple[str, str]] = Counter()
        for pack, artifacts in self._users.items():
            size = self._sizes.get(pack, 0)
            for owners in (artifacts, {(name, "") for name, _ in artifacts}):
                for owner in owners:
                    stored[owner] += size
                    shared[owner] += size if len(owners) > 1 else 0
        found = [
            Usage(*owner, facts[0], facts[1], facts[2], stored[owner], shared[owner])
            for owner, facts in sorted(self._facts.items())
            if experiment in (None, owner[0])
        ]
        total = sum(self._sizes.values())
        return StoreUsage(
            tuple(usage for usage in found if not usage.tag),
            tuple(usage for usage in found if usage.tag),
            total,
            total - sum(self._sizes.get(pack, 0) for pack in self._users),
        )
