"""The sparse dedup index: finds data that another machine stored, without anybody holding the whole index.

One chunk id in 64, and the first of each large file and of each pack, are hooks: (chunk id, pack) in small objects,
one a capture that
stored much. A hit fetches that pack's footer, and so its neighbours. Sparse indexing: Lillibridge et al., FAST 2009.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from studio_cas.errors import StudioError
from studio_cas.formats import hooks as runs
from studio_cas.formats import keys
from studio_cas.store.footers import read_footer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from studio_cas.formats.leaf import Place
    from studio_cas.ids import PackId
    from studio_cas.store.store import Store

WORTH_BYTES = 8 * 1024 * 1024
LIST_LIMIT = 1000
READ_LIMIT = 256
LATEST = 10**14


class HookIndex:
    """Hooks of one capture: those it makes, and those of others, which are read when first needed.

    Nothing is learnt of packs of `without`.
    """

    def __init__(self, store: Store, without: frozenset[PackId] = frozenset()) -> None:
        self._store = store
        self._fresh: list[tuple[bytes, PackId]] = []
        self._pack: PackId | None = None
        self._loaded = False
        self._lock = threading.Lock()
        self._learnt: set[PackId] = set(without)

    def add(self, chunk_id: bytes, pack: PackId, *, first: bool) -> None:
        """A new chunk was stored; `first` of a large file. The first of a pack is a hook as well: each pack has one."""
        if first or runs.is_sampled(chunk_id) or pack != self._pack:
            self._fresh.append((chunk_id, pack))
        self._pack = pack

    def neighbours(self, ids: Sequence[bytes]) -> dict[bytes, Place]:
        """Places of those of `ids` that stand in a pack which holds one of their hooks."""
        with self._lock:  # one learns, the others wait for what it finds
            self._load()
            packs = self._store.catalog.hooked(ids)
            self._learn(packs - self._learnt)
        return self._store.catalog.lookup(ids) if packs else {}

    def _learn(self, packs: set[PackId]) -> None:
        for pack in packs:
            self._learnt.add(pack)
            try:
                self._store.catalog.add(pack, read_footer(self._store, pack))
            except StudioError:
                continue  # it is gone, or damaged: no hit

    def _load(self) -> None:
        """Read the runs that this machine has not seen, the newest first."""
        if self._loaded:
            return
        self._loaded = True
        try:
            names = [found.key for found in self._store.backend.list(keys.HOOKS, limit=LIST_LIMIT)]
            for name in self._store.catalog.unseen(names)[:READ_LIMIT]:
                self._store.catalog.add_hooks(name, runs.decode(self._store.backend.read(name)))
        except StudioError:
            return  # dedup is an optimisation

    def publish(self, stored: int) -> None:
        """Make the new hooks known to others, where `stored` bytes are worth a request."""
        if stored < WORTH_BYTES or not self._fresh:
            return
        moment = LATEST - int(time.time() * 1000)
        key = f"{keys.HOOKS}{moment:014}-{os.urandom(4).hex()}"
        self._store.backend.create(key, [runs.encode(self._fresh)])
        self._store.catalog.add_hooks(key, [])
