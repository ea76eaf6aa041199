"""How much space experiments and artifacts take: logical, stored and shared bytes."""

from __future__ import annotations

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
    """Bytes of one artifact over all its versions.

    `logical`: the sum of the sizes of its versions; `latest`: the size of the newest; `stored`: the packs that its
    versions use, whole; `shared`: those of them that other artifacts use as well.
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
    """All artifacts, and the packs of the store: `stored` bytes in all, of which `unused` are in no version."""

    artifacts: tuple[Usage, ...]
    stored: int
    unused: int


def du(store: Store, experiment: str | None = None) -> StoreUsage:
    """Usage of one experiment, or of all. Reads every version record, and lists every pack."""
    sizes: dict[PackId, int] = {}
    for prefix in (keys.PACKS, keys.TREES):
        for found in store.backend.list(prefix):
            sizes[keys.pack_id_of(found.key)] = found.size
    users: dict[PackId, set[tuple[str, str]]] = {}
    facts: dict[tuple[str, str], list[int]] = {}
    for name in versions.list_experiments(store):
        for tag in versions.list_tags(store, name):
            logical = latest = count = 0
            for version in versions.list_versions(store, name, tag):
                latest = latest or version.size
                logical += version.size
                count += 1
                for pack in (*TreeReader(store, version).root.packs, *version.tree_packs):
                    users.setdefault(pack, set()).add((name, tag))
            facts[name, tag] = [count, logical, latest]
    artifacts = tuple(
        Usage(name, tag, *counts, *_stored(users, sizes, (name, tag)))
        for (name, tag), counts in facts.items()
        if experiment in (None, name)
    )
    return StoreUsage(artifacts, sum(sizes.values()), sum(sizes.values()) - _sum(users, sizes))


def _stored(
    users: dict[PackId, set[tuple[str, str]]], sizes: dict[PackId, int], artifact: tuple[str, str]
) -> tuple[int, int]:
    own = [pack for pack, by in users.items() if artifact in by]
    return _sum(own, sizes), _sum((pack for pack in own if len(users[pack]) > 1), sizes)


def _sum(packs: Iterable[PackId], sizes: dict[PackId, int]) -> int:
    return sum(sizes.get(pack, 0) for pack in packs)
