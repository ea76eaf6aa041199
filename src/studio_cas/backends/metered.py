"""A decorator that counts requests and bytes: what a cloud bills, and what benchmarks and tests assert on."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from studio_cas.backends.passing import Passing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from studio_cas.backends.base import Backend, ObjectStat
    from studio_cas.ids import Buffer


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests by class, failed ones included, and the bytes of objects that went each way."""

    create: int = 0
    read: int = 0
    list: int = 0
    stat: int = 0
    delete: int = 0
    bytes_in: int = 0
    """Bytes that were read from the store."""
    bytes_out: int = 0
    """Bytes that were sent to the store."""


class Metered(Passing):
    """Pass everything on to `inner`, and count. A listing counts once, however many pages it has."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._lock = threading.Lock()
        self._counts = Counts()

    @property
    def counts(self) -> Counts:
        """The counts so far."""
        return self._counts

    def create(self, key: str, parts: Sequence[Buffer]) -> None:
        """As `inner`; the bytes count when the object was created."""
        self._add(create=1)
        self.inner.create(key, parts)
        self._add(bytes_out=sum(map(len, parts)))

    def read(self, key: str, offset: int = 0, length: int | None = None) -> Buffer:
        """As `inner`."""
        self._add(read=1)
        piece = self.inner.read(key, offset, length)
        self._add(bytes_in=len(piece))
        return piece

    def read_tail(self, key: str, length: int) -> tuple[Buffer, int]:
        """As `inner`; counts as a read."""
        self._add(read=1)
        piece, size = self.inner.read_tail(key, length)
        self._add(bytes_in=len(piece))
        return piece, size

    def stat(self, key: str) -> ObjectStat:
        """As `inner`."""
        self._add(stat=1)
        return self.inner.stat(key)

    def list(self, prefix: str, limit: int | None = None) -> Iterator[ObjectStat]:
        """As `inner`."""
        self._add(list=1)
        return self.inner.list(prefix, limit)

    def list_names(self, prefix: str) -> Iterator[str]:
        """As `inner`; counts as a list."""
        self._add(list=1)
        return self.inner.list_names(prefix)

    def delete(self, key: str) -> None:
        """As `inner`."""
        self._add(delete=1)
        self.inner.delete(key)

    def _add(self, **more: int) -> None:
        with self._lock:
            self._counts = replace(self._counts, **{name: getattr(self._counts, name) + n for name, n in more.items()})
