"""Packs that this machine found damaged, or gone: no capture takes a chunk from one, and none merges it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

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
