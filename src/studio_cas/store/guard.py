"""The writer's side of the collector's protocol (docs/concurrency.md): no version ever names a pack that is gone.

A version that adopts packs of others is pinned while it is committed; afterwards the condemned lists say whether
one of its packs was about to be deleted. If so, the commit is not acknowledged, and is done again without that pack.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from studio_cas.errors import NotFoundError, PermissionDeniedError, TransientError
from studio_cas.formats import collection, keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from studio_cas.ids import PackId
    from studio_cas.store.store import Store

    T = TypeVar("T")

LISTINGS = 5


class CondemnedError(Exception):
    """Some packs that the commit needs may be deleted: forget them, and capture again."""

    def __init__(self, packs: frozenset[PackId]) -> None:
        super().__init__(f"{len(packs)} packs are condemned")
        self.packs = packs


def condemned(store: Store) -> frozenset[PackId]:
    """The packs on any condemned list: a collector that was paused still acts on its own, however old it is."""
    for _ in range(LISTINGS):
        with suppress(NotFoundError):  # it was merged into a newer one just now
            lists = [collection.decode(store.backend.read(found.key)) for found in store.backend.list(keys.GC)]
            return frozenset().union(*lists)
    raise TransientError(f"{store.url}: lists of condemned packs went away {LISTINGS} times while they were read")


def commit(store: Store, packs: Iterable[PackId], adopted: frozenset[PackId], create: Callable[[], T]) -> T:
    """Run `create`, which creates the version record, so that none of `packs` can be deleted under it.

    `adopted` are those that neither this capture made nor its parent version uses. Raises CondemnedError, also for
    packs that are not in the store yet, as they wait on this machine for the network.
    """
    needed = frozenset(packs)
    _check(store.absent(), needed)
    pin = create_pin(store, adopted) if adopted else None
    if pin:
        _check(condemned(store), adopted)
    made = create()
    kept = adopted if pin and remove_pin(store, pin) else frozenset()
    _check(condemned(store), needed - kept)
    return made


def _check(lists: frozenset[PackId], packs: frozenset[PackId]) -> None:
    if lists & packs:
        raise CondemnedError(lists & packs)


def create_pin(store: Store, packs: frozenset[PackId]) -> str:
    """Keep the collector from deleting `packs`, as long as the object whose key is returned is there."""
    key = f"{keys.PINS}{os.urandom(16).hex()}"
    store.backend.create(key, [collection.encode(packs)])
    return key


def remove_pin(store: Store, key: str) -> bool:
    """Remove the pin; False where it was gone already, which proves nothing. One that stays costs nothing."""
    try:
        store.backend.delete(key)
    except NotFoundError:
        return False
    except PermissionDeniedError:
        return is_pinned(store, key)
    return True


def is_pinned(store: Store, key: str) -> bool:
    """Whether the pin is still there."""
    try:
        store.backend.stat(key)
    except NotFoundError:
        return False
    return True
