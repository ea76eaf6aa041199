"""A decorator that keeps the bytes to and from a store below a rate: a bucket of tokens that fills with time.

A request waits until the bucket is not in debt, and then takes what it moves, however much that is: a pack larger than
the bucket is not cut, it puts the bucket into debt and the next request waits. So the average holds over any time that
is longer than a pack takes.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from studio_cas.backends.passing import Passing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from studio_cas.backends.base import Backend
    from studio_cas.ids import Buffer

BURST_SECONDS = 1.0  # what may be moved at once after a pause


class Paced(Passing):
    """Pass everything on to `inner`, at `rate` bytes a second at most. `clock` and `sleep` are for tests."""

    def __init__(
        self,
        inner: Backend,
        rate: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(inner)
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._tokens = rate * BURST_SECONDS
        self._filled = clock()

    def create(self, key: str, parts: Sequence[Buffer]) -> None:
        """As `inner`, when its turn has come."""
        self._take(sum(map(len, parts)))
        self.inner.create(key, parts)

    def read(self, key: str, offset: int = 0, length: int | None = None) -> Buffer:
        """As `inner`, when its turn has come."""
        self._take(0)
        piece = self.inner.read(key, offset, length)
        self._spend(len(piece))
        return piece

    def read_tail(self, key: str, length: int) -> tuple[Buffer, int]:
        """As `inner`, when its turn has come."""
        self._take(0)
        piece, size = self.inner.read_tail(key, length)
        self._spend(len(piece))
        return piece, size

    def _take(self, count: int) -> None:
        """Wait until the bucket is out of debt, and take `count` bytes."""
        while (wait := self._try_to_take(count)) > 0:
            self._sleep(wait)

    def _try_to_take(self, count: int) -> float:
        """Take `count` bytes and return 0, or return the seconds until the bucket is out of debt."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._rate * BURST_SECONDS, self._tokens + (now - self._filled) * self._rate)
            self._filled = now
            if self._tokens < 0:
                return -self._tokens / self._rate
            self._tokens -= count
            return 0.0

    def _spend(self, count: int) -> None:
        with self._lock:
            self._tokens -= count
