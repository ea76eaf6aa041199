"""A store in the memory of this process: for tests, and the reference that other backends are compared with."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, insort
from itertools import islice
from typing import TYPE_CHECKING

from studio_cas.backends.base import ObjectStat
from studio_cas.backends.keycheck import check_folder, check_key, check_prefix
from studio_cas.errors import NotFoundError, ObjectExistsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from studio_cas.ids import Buffer


class MemoryBackend:
    """Objects in a dict, and their keys in order. `name` only serves messages; `clock` gives seconds."""

    def __init__(self, name: str = "", clock: Callable[[], float] = time.time) -> None:
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._objects: dict[str, tuple[bytes, float]] = {}
        self._order: list[str] = []

    @property
    def url(self) -> str:
        """`memory://NAME`."""
        return f"memory://{self._name}"

    @property
    def local(self) -> bool:
        """Reads cost no round trip."""
        return True

    def prepare(self) -> None:
        """Nothing to do."""

    def create(self, key: str, parts: Sequence[Buffer]) -> None:
        """Keep a copy of the parts under `key`. Raises ObjectExistsError."""
        content = b"".join(parts)
        with self._lock:
            if check_key(key) in self._objects:
                message = f"{self.url}: {key} exists already"
                raise ObjectExistsError(message)
            self._objects[key] = (content, self._clock())
            insort(self._order, key)

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes [offset, offset + length) of the object. Raises NotFoundError."""
        content, _ = self._get(key)
        return content[offset:] if length is None else content[offset : offset + length]

    def read_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """The last `length` bytes, and the whole size. Raises NotFoundError."""
        content, _ = self._get(key)
        return content[max(0, len(content) - length) :], len(content)

    def stat(self, key: str) -> ObjectStat:
        """Size and time of creation. Raises NotFoundError."""
        content, created = self._get(key)
        return ObjectStat(key, len(content), created)

    def list(self, prefix: str, limit: int | None = None) -> Iterator[ObjectStat]:
        """Objects that existed at the time of the call and begin with `prefix`, in order."""
        check_prefix(prefix)
        with self._lock:
            found = tuple(islice(self._from(prefix), limit))
            stats = [ObjectStat(key, len(self._objects[key][0]), self._objects[key][1]) for key in found]
        return iter(stats)

    def list_names(self, prefix: str) -> Iterator[str]:
        """The distinct next segments below `prefix`, in order."""
        check_folder(prefix)
        with self._lock:
            names = {key[len(prefix) :].partition("/")[0] for key in self._from(prefix)}
        return iter(sorted(names))

    def delete(self, key: str) -> None:
        """Forget the object. Raises NotFoundError."""
        with self._lock:
            if self._objects.pop(check_key(key), None) is None:
                raise self._missing(key)
            del self._order[bisect_left(self._order, key)]

    def close(self) -> None:
        """Nothing to release: the objects stay, as in any other store."""

    def _get(self, key: str) -> tuple[bytes, float]:
        try:
            return self._objects[check_key(key)]
        except KeyError:
            raise self._missing(key) from None

    def _missing(self, key: str) -> NotFoundError:
        return NotFoundError(f"{self.url}: there is no object {key}")

    def _from(self, prefix: str) -> Iterator[str]:
        for place in range(bisect_left(self._order, prefix), len(self._order)):
            if not self._order[place].startswith(prefix):
                return
            yield self._order[place]
