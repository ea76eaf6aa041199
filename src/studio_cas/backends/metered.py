"""A decorator that counts requests and bytes: what a cloud bills, and what benchmarks and tests assert on.

It stands below the decorator that asks again, so that every attempt counts. What a bucket asks on its own, when it is
looked for or made, does not.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from studio_cas.backends.passing import Passing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from studio_cas.backends.base import Backend, ObjectStat
    from studio_cas.ids import Buffer

T = TypeVar("T")
LISTED_AT_ONCE: Final = 1000  # names that one request for a listing gives


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

    @property
    def class_a(self) -> int:
        """Requests that clouds bill as class A (Google) or as PUT and LIST (Amazon): to create, and to list."""
        return self.create + self.list

    @property
    def class_b(self) -> int:
        """Requests that clouds bill as class B, or as GET and HEAD; to delete is free."""
        return self.read + self.stat

    def since(self, earlier: Counts) -> Counts:
        """What was counted after `earlier`."""
        return _sum(self, earlier, -1)


def _sum(one: Counts, other: Counts, sign: int = 1) -> Counts:
    return Counts(*(getattr(one, name) + sign * getattr(other, name) for name in Counts.__slots__))


class _Tally:
    """Counts that grow, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.counts = Counts()

    def add(self, more: Counts) -> None:
        with self._lock:
            self.counts = _sum(self.counts, more)


_all: Final = _Tally()


def counts_of_process() -> Counts:
    """What all stores together have counted that were open in this process, or in others for us."""
    return _all.counts


def count_also(counts: Counts) -> None:
    """Add what another process has asked for us."""
    _all.add(counts)


class Metered(Passing):
    """Pass everything on to `inner`, and count. A listing counts once for each LISTED_AT_ONCE names."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._tally = _Tally()

    @property
    def counts(self) -> Counts:
        """The counts so far."""
        return self._tally.counts

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
        return self._paged(self.inner.list(prefix, limit))

    def list_names(self, prefix: str) -> Iterator[str]:
        """As `inner`; counts as a list."""
        self._add(list=1)
        return self._paged(self.inner.list_names(prefix))

    def delete(self, key: str) -> None:
        """As `inner`."""
        self._add(delete=1)
        self.inner.delete(key)

    def _paged(self, listing: Iterator[T]) -> Iterator[T]:
        for number, item in enumerate(listing):
            if number and number % LISTED_AT_ONCE == 0:
                self._add(list=1)
            yield item

    def _add(self, **more: int) -> None:
        counted = Counts(**more)
        self._tally.add(counted)
        _all.add(counted)
