"""Packs that this machine found damaged, or gone: no capture takes anything from one, and none merges it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from studio_cas.errors import CorruptError, NotFoundError, StudioError
from studio_cas.formats import keys
from studio_cas.formats.pack import HARD_CAP
from studio_cas.store.footers import check_chunks, placed_chunks
from studio_cas.store.spool_folder import packs_named_in

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from studio_cas.ids import PackId
    from studio_cas.store.store import Store


def _folder(store: Store) -> Path:
    return store.cache_dir / "damaged"


def known(store: Store) -> frozenset[PackId]:
    """All packs that are known to be damaged."""
    return packs_named_in(_folder(store))


def remember(store: Store, packs: Iterable[PackId]) -> None:
    """Remember that `packs` are damaged, and forget what lies in them; a disk that refuses makes it find out again."""
    damaged = list(packs)
    store.catalog.forget(damaged)
    with suppress(OSError):
        _folder(store).mkdir(parents=True, exist_ok=True)
        for pack in damaged:
            (_folder(store) / pack.hex()).touch()


def examine(store: Store, pack: PackId, *, tree: bool = False) -> None:
    """Somebody could not use what a manifest says lies in `pack`: read all of it, and remember it where it is damaged.

    The manifest itself is not believed: a forged one would make this machine give up sound packs.
    """
    if pack in known(store):
        return
    try:
        data = memoryview(store.backend.read(keys.pack(pack, tree=tree), 0, HARD_CAP))
    except NotFoundError:
        remember(store, [pack])
        return
    except StudioError:
        return  # nobody can say
    try:
        check_chunks(data, placed_chunks(pack, data), tree=tree)
    except CorruptError:
        remember(store, [pack])
