"""The base of decorators: everything is passed on to `inner`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from studio_cas.backends.base import Backend, ObjectStat
    from studio_cas.ids import Buffer


class Passing:
    """A backend that is as `inner`; subclasses change what they are for."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner

    @property
    def url(self) -> str:
        """As `inner`."""
        return self.inner.url

    @property
    def local(self) -> bool:
        """As `inner`."""
        return self.inner.local

    def prepare(self) -> None:
        """As `inner`."""
        self.inner.prepare()

    def create(self, key: str, parts: Sequence[Buffer]) -> None:
        """As `inner`."""
        self.inner.create(key, parts)

    def read(self, key: str, offset: int = 0, length: int | None = None) -> Buffer:
        """As `inner`."""
        return self.inner.read(key, offset, length)

    def read_tail(self, key: str, length: int) -> tuple[Buffer, int]:
        """As `inner`."""
        return self.inner.read_tail(key, length)

    def stat(self, key: str) -> ObjectStat:
        """As `inner`."""
        return self.inner.stat(key)

    def list(self, prefix: str, limit: int | None = None) -> Iterator[ObjectStat]:
        """As `inner`."""
        return self.inner.list(prefix, limit)

    def list_names(self, prefix: str) -> Iterator[str]:
        """As `inner`."""
        return self.inner.list_names(prefix)

    def delete(self, key: str) -> None:
        """As `inner`."""
        self.inner.delete(key)

    def close(self) -> None:
        """As `inner`."""
        self.inner.close()
