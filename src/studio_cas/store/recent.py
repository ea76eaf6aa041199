"""The small packs that this process made last, in memory: merging them reads nothing from the store.

A daemon merges what it wrote itself minutes before. Without this each merge would read it all again, from a bucket
through the network. Losing it costs those reads.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from studio_cas.ids import Buffer, PackId

PACK_LIMIT = 2 * 1024 * 1024
"""Larger packs are not kept: they are not merged until little of them is used."""
LIMIT = 32 * 1024 * 1024


class RecentPacks:
    """Whole packs of at most `PACK_LIMIT` bytes, together at most `limit`; the oldest go first. From any thread."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._bytes = 0
        self._packs: dict[PackId, bytes] = {}
        self._lock = threading.Lock()

    def keep(self, pack: PackId, parts: Sequence[Buffer]) -> None:
        """Remember a pack that was just made, unless it is large."""
        size = sum(map(len, parts))
        if size > min(PACK_LIMIT, self._limit):
            return
        data = b"".join(parts)
        with self._lock:
            self._packs[pack] = data
            self._bytes += size
            while self._bytes > self._limit:
                self._bytes -= len(self._packs.pop(next(iter(self._packs))))

    def read(self, pack: PackId, offset: int, length: int) -> memoryview | None:
        """Bytes [offset, offset + length) of the pack, or None where it is not kept."""
        with self._lock:
            data = self._packs.get(pack)
        return memoryview(data)[offset : offset + length] if data is not None else None

    def drop(self, pack: PackId) -> None:
        """Forget a pack: what it held was merged."""
        with self._lock:
            self._bytes -= len(self._packs.pop(pack, b""))
