"""How many requests are under way at once: fewer where the service is busy, and slowly more again.

Additive increase, multiplicative decrease, as TCP does it (Chiu and Jain, 1989): a refusal for being busy halves the
limit, and every answer adds its share, so that a full round of answers adds one. Requests that were on their way before
the last decrease tell nothing new: a burst of refusals halves once. So no clock is needed.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from studio_cas.backends.answers import RefusalError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Slots:
    """At most `most` requests at once, and at least one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._taken = 0
        self._decreases = 0
        self._changed = threading.Condition()

    @property
    def limit(self) -> int:
        """How many requests may be under way now."""
        return int(self._limit)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Wait for a slot, and hold it while the block sends a request. Its outcome moves the limit."""
        seen = self._take()
        try:
            yield
        except BaseException as error:
            self._give_back(seen, busy=isinstance(error, RefusalError) and error.busy)
            raise
        self._give_back(seen, answered=True)

    def _take(self) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._taken < self.limit)
            self._taken += 1
            return self._decreases

    def _give_back(self, seen: int, *, answered: bool = False, busy: bool = False) -> None:
        with self._changed:
            self._taken -= 1
            if answered:
                self._limit = min(self._most, self._limit + 1 / self._limit)
            elif busy and seen == self._decreases:
                self._limit = max(1.0, self._limit / 2)
                self._decreases += 1
            self._changed.notify_all()
