"""The writer's side of the collector's protocol (docs/concurrency.md): no version ever names a pack that is gone.

A version that adopts packs of others is pinned while it is committed; afterwards the condemned lists say whether
one of its packs was about to be deleted. If so, the commit is not acknowledged, and is done again without that pack.

Condemned lists are numbered from 1 without a gap, and stay for ever: whoever learnt of a pack long ago finds it on one.
Each is read once by a machine, whose catalog keeps what it says. Where somebody removed one nevertheless, packs are
looked for one by one.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from studio_cas.errors import NotFoundError, PermissionDeniedError, StoreUnavailableError, TransientError
from studio_cas.formats import collection, keys
from studio_cas.store.versions import read_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from typing import TypeVar

    from studio_cas.backends.base import ObjectStat
    from studio_cas.formats.version import Version
    from studio_cas.ids import PackId
    from studio_cas.store.catalog import Catalog
    from studio_cas.store.store import Store

    T = TypeVar("T")

LISTINGS: Final = 5
LOOKERS: Final = 16


class CondemnedError(Exception):
    """Some packs that the commit needs may be deleted: forget them, and capture again."""

    def __init__(self, packs: frozenset[PackId]) -> None:
        super().__init__(f"{len(packs)} packs are condemned")
        self.packs = packs


def condemned(store: Store, packs: AbstractSet[PackId], catalog: Catalog | None = None) -> frozenset[PackId]:
    """Those of `packs` that are on any condemned list, or missing where a list is.

    A collector that was paused still acts on its own list, however old that is. `catalog`: what remembers the lists,
    else that of the store.
    """
    catalog = catalog or store.catalog
    for _ in range(LISTINGS):
        labels = {_label(one): one.key for one in list_lists(store)}
        unread, found = catalog.condemned(tuple(labels), packs)
        with suppress(NotFoundError):
            read = partial(_labelled, store, labels)
            for label, listed in read_ahead(iter(unread), read, store.backend):
                found |= listed & packs
                catalog.add_condemned(label, listed)
            if unread:
                catalog.forget_condemned()
            if not is_complete(tuple(labels.values())):
                found |= missing(store, packs - found)
            return frozenset(found)
    raise TransientError(f"{store.url}: lists of condemned packs went away {LISTINGS} times while they were read")


def list_lists(store: Store) -> list[ObjectStat]:
    """All condemned lists, the newest first; what else somebody put there is none."""
    return [found for found in store.backend.list(keys.GC) if keys.is_condemned_list(found.key)]


def _label(found: ObjectStat) -> str:
    """Tells apart lists of one number: of a store that was copied with its id, or where one was removed by hand."""
    return f"{found.key} {found.size} {found.created!r}"


def _labelled(store: Store, labels: Mapping[str, str], label: str) -> tuple[str, frozenset[PackId]]:
    return label, read_list(store, labels[label])


def is_complete(names: Sequence[str]) -> bool:
    """Whether each list is there that ever was: their numbers have no gap."""
    return [keys.list_number(name) for name in names] == list(range(len(names), 0, -1))


def read_list(store: Store, name: str) -> frozenset[PackId]:
    """The packs on the condemned list under the key `name`. Raises NotFoundError, CorruptError."""
    return collection.decode(store.backend.read(name), name)


def missing(store: Store, packs: AbstractSet[PackId]) -> frozenset[PackId]:
    """Those of `packs` that are not in the store, be they of data or of trees."""

    def is_missing(pack: PackId) -> bool:
        for tree in (False, True):
            with suppress(NotFoundError):
                store.backend.stat(keys.pack(pack, tree=tree))
                return False
        return True

    with ThreadPoolExecutor(LOOKERS, "look") as pool:
        return frozenset(pack for pack, lost in zip(packs, pool.map(is_missing, packs), strict=True) if lost)


def commit(
    store: Store,
    packs: Iterable[PackId],
    adopted: frozenset[PackId],
    create: Callable[[], T],
    waits: Callable[[T], bool] = lambda _made: False,
) -> T:
    """Run `create`, which creates the version record, so that none of `packs` can be deleted under it.

    `adopted` are those that neither this capture made nor its parent version uses. `waits` says of what was made that
    it is not in the store yet: whoever sends it checks it then. Raises CondemnedError, also for packs that are not in
    the store yet, as they wait on this machine for the network.
    """
    needed = frozenset(packs)
    if absent := store.absent() & needed:
        raise CondemnedError(absent)
    pin = create_pin(store, adopted) if adopted else None
    try:
        if pin:
            with suppress(StoreUnavailableError):  # the look that decides comes after the version
                _check(store, adopted)
        made = create()
        if not waits(made):
            _check(store, needed)
    finally:
        if pin:
            with suppress(StoreUnavailableError):  # one that stays costs nothing
                remove_pin(store, pin)
    return made


def _check(store: Store, packs: frozenset[PackId]) -> None:
    if lost := condemned(store, packs):
        raise CondemnedError(lost)


def commit_version(
    store: Store,
    packs: Iterable[PackId],
    adopted: frozenset[PackId],
    create: Callable[[], Version],
    *,
    newest: bool = False,
) -> Version:
    """As `commit`; this machine remembers that the version has all its packs, as long as it is there itself.

    With `newest`, it forgets that of earlier ones.
    """
    waiting: list[bool] = []

    def waits(made: Version) -> bool:
        waiting.append(store.waits(_key(made)))
        return waiting[-1]

    made = commit(store, packs, adopted, create, waits)
    if not any(waiting):
        store.catalog.acknowledge(_key(made), made.writer, newest=newest)
        store.went_up(_key(made))
    return made


def check_version(store: Store, version: Version, packs: Callable[[], AbstractSet[PackId]]) -> None:
    """See that `version`, which is there and names `packs`, may be acknowledged: its writer may have died before that.

    A machine asks once. One that waits is checked when it goes up. Raises CondemnedError, StoreUnavailableError.
    """
    key = _key(version)
    if store.waits(key) or store.catalog.is_acknowledged(key, version.writer):
        return
    _check(store, frozenset(packs()))
    store.catalog.acknowledge(key, version.writer)


def _key(version: Version) -> str:
    return keys.version(version.experiment, version.tag, version.number)


def create_pin(store: Store, packs: frozenset[PackId]) -> str:
    """Keep the collector from deleting `packs`, as long as the object whose key is returned is there."""
    key = f"{keys.PINS}{os.urandom(16).hex()}"
    store.backend.create(key, [collection.encode(packs)])
    return key


def remove_pin(store: Store, key: str) -> None:
    """Remove the pin, where it is still there and this credential may."""
    with suppress(NotFoundError, PermissionDeniedError):
        store.backend.delete(key)


def is_pinned(store: Store, key: str) -> bool:
    """Whether the pin is still there."""
    try:
        store.backend.stat(key)
    except NotFoundError:
        return False
    return True
