"""The port to an object store: create, read, stat, list, delete. It has no overwrite.

A key is a relative path of ASCII segments joined with `/`. Every object is created once, whole, or not at all; a
reader sees a complete object or none. Implementations are safe to call from several threads at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from studio_cas.ids import Buffer


@dataclass(frozen=True, slots=True)
class ObjectStat:
    """What a store knows of an object. `created` is in seconds since the epoch, by the store's clock."""

    key: str
    size: int
    created: float


@runtime_checkable
class Backend(Protocol):
    """One store, seen as keys and immutable bytes."""

    @property
    def url(self) -> str:
        """Where the store is, without any secret; for messages."""
        ...

    @property
    def local(self) -> bool:
        """True where a read costs no round trip (memory, local folder)."""
        ...

    def prepare(self) -> None:
        """Make the place ready (folder, bucket) where it is missing and the credential may; idempotent.

        Raises StoreUnavailableError or PermissionDeniedError with one sentence that says what to do.
        """
        ...

    def create(self, key: str, parts: Sequence[Buffer]) -> None:
        """Create `key` with the concatenation of `parts`, atomically and durably.

        Raises ObjectExistsError when the key exists (whatever its content), NoSpaceError, PermissionDeniedError,
        TransientError. After any error other than ObjectExistsError the object may exist or not.
        """
        ...

    def read(self, key: str, offset: int = 0, length: int | None = None) -> Buffer:
        """Bytes [offset, offset + length) of the object, to its end without `length`.

        A range that reaches beyond the end gives what there is. Raises NotFoundError, TransientError.
        """
        ...

    def read_tail(self, key: str, length: int) -> tuple[Buffer, int]:
        """The last `length` bytes (or all, where there are fewer), and the object's whole size; one round trip."""
        ...

    def stat(self, key: str) -> ObjectStat:
        """Size and time of the object. Raises NotFoundError."""
        ...

    def list(self, prefix: str, limit: int | None = None) -> Iterator[ObjectStat]:
        """Objects whose key begins with `prefix` (a plain string prefix), in ascending order of key.

        With `limit`, at most that many, at the cost of one call.
        """
        ...

    def list_names(self, prefix: str) -> Iterator[str]:
        """The distinct next path segments below `prefix`, which ends in `/` or is empty, ascending.

        `list_names("experiments/")` gives experiment names, without reading below them.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove the object. Raises NotFoundError, PermissionDeniedError. Only `rm` and the collector call it."""
        ...

    def close(self) -> None:
        """Release connections and threads. The backend is not used afterwards."""
        ...
