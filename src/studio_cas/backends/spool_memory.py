"""Small metadata objects as this machine last saw them, so that work goes on while their store is away.

Objects never change, so what is remembered is right; it may be incomplete, and losing it costs nothing while the store
answers. Of a folder whose newest object sorts first only that one is kept; of all else, the youngest up to a limit.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from studio_cas.errors import NotFoundError, StudioError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from studio_cas.backends.base import Backend, ObjectStat
    from studio_cas.ids import Buffer

WHOLE: Final = "remembered/"
RANGES: Final = "ranges/"
LIMIT: Final = 256 << 20
_KEPT: Final = 0.75


class Remembered:
    """Objects and ranges of objects on `disk`. Of folders below `newest` only the first object is kept."""

    def __init__(self, disk: Backend, newest: tuple[str, ...], limit: int = LIMIT) -> None:
        self._disk = disk
        self._newest = newest
        self._limit = limit
        self._bytes: int | None = None

    def keep(self, key: str, parts: Sequence[Buffer]) -> None:
        """Remember an object; a disk that refuses makes it forget, never fail."""
        self._keep(WHOLE + key, parts)
        if key.startswith(self._newest):
            folder = f"{WHOLE}{key.rpartition('/')[0]}/"
            with suppress(StudioError):
                for found in list(self._disk.list(folder))[1:]:
                    self._disk.delete(found.key)

    def keep_range(self, key: str, offset: int, piece: Buffer) -> None:
        """Remember bytes of an object."""
        self._keep(f"{RANGES}{key}/{offset}-{len(piece)}", [piece])

    def recall(self, key: str, offset: int = 0, length: int | None = None) -> Buffer:
        """Bytes of an object. Raises NotFoundError where they are not remembered."""
        try:
            return self._disk.read(WHOLE + key, offset, length)
        except NotFoundError:
            if length is None:
                raise
        return self._disk.read(f"{RANGES}{key}/{offset}-{length}")

    def stat(self, key: str) -> ObjectStat | None:
        """Size and time of an object that is remembered whole."""
        try:
            found = self._disk.stat(WHOLE + key)
        except NotFoundError:
            return None
        return _named(found)

    def listed(self, prefix: str) -> Iterator[ObjectStat]:
        """Objects that are remembered whole, in order of key."""
        return map(_named, self._disk.list(WHOLE + prefix))

    def forget(self) -> None:
        """Forget everything."""
        for prefix in (WHOLE, RANGES):
            for found in list(self._disk.list(prefix)):
                with suppress(NotFoundError):
                    self._disk.delete(found.key)
        self._bytes = 0

    def _keep(self, name: str, parts: Sequence[Buffer]) -> None:
        try:
            if self._bytes is None:
                self._bytes = sum(found.size for prefix in (WHOLE, RANGES) for found in self._disk.list(prefix))
            self._disk.create(name, parts)
        except StudioError:  # known already; or a full disk: then work stops while the store is away, not before
            return
        self._bytes += sum(map(len, parts))
        if self._bytes > self._limit:
            self._prune()

    def _prune(self) -> None:
        """Forget the oldest, but not the newest of a folder."""
        folders = tuple(WHOLE + prefix for prefix in self._newest)
        found = [item for prefix in (WHOLE, RANGES) for item in self._disk.list(prefix)]
        left = sum(item.size for item in found)
        with suppress(StudioError):
            for item in sorted(found, key=lambda item: item.created):
                if left <= self._limit * _KEPT:
                    break
                if not item.key.startswith(folders):
                    self._disk.delete(item.key)
                    left -= item.size
        self._bytes = left


def _named(found: ObjectStat) -> ObjectStat:
    """As the store would tell it."""
    return type(found)(found.key.removeprefix(WHOLE), found.size, found.created)
