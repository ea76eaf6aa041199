"""A circuit breaker: after a store went away nobody waits for it again; one probe at a time asks whether it is back.

Pauses between probes grow from a second to a minute, with jitter, and are at least what the store asked for.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Final

from studio_cas.errors import PermissionDeniedError, StoreUnavailableError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_PAUSE: Final = 1.0  # seconds from the failure to the first probe
LONGEST_PAUSE: Final = 60.0


class Breaker:
    """Closed while the store answers, open while it is away. Safe to use from several threads.

    `clock` is monotonic, in seconds; `jitter` gives numbers from 0 to 1.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, jitter: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._error: StoreUnavailableError | None = None
        self._failures = 0
        self._due = 0.0

    @property
    def error(self) -> StoreUnavailableError | None:
        """Why the store counts as away; None while it answers."""
        return self._error

    def trip(self, error: StoreUnavailableError) -> bool:
        """A request failed; True where the store was not known to be away."""
        with self._lock:
            if self._error is not None:  # a request that was under way when another one failed
                return False
            self._wait(error)
            return True

    def probe_failed(self, error: StoreUnavailableError) -> None:
        """A probe failed: the next one comes later."""
        with self._lock:
            self._wait(error)

    def close(self) -> None:
        """The store answers. Whether it also takes what waits is seen next: pauses go on growing where it does not."""
        with self._lock:
            self._error = None

    def reset(self) -> None:
        """The store took something: pauses begin small again."""
        with self._lock:
            self._failures = 0

    def pause(self) -> float:
        """Seconds until the next probe is due; 0 where it is, or where the store answers."""
        with self._lock:
            return 0.0 if self._error is None else max(0.0, self._due - self._clock())

    def hurry(self) -> None:
        """The next probe is due now: somebody says that the store is back."""
        with self._lock:
            self._due = self._clock()

    def _wait(self, error: StoreUnavailableError) -> None:
        self._error = error
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures, 10))
        self._failures += 1
        asked = getattr(error, "retry_after", None) or 0.0
        self._due = self._clock() + max(longest * (0.5 + 0.5 * self._jitter()), min(float(asked), LONGEST_PAUSE))


def kind_of(error: StoreUnavailableError) -> type[StoreUnavailableError]:
    """The class that tells a caller what to do: wait, use another credential, or look at the store."""
    if isinstance(error, PermissionDeniedError):
        return PermissionDeniedError
    return TransientError if isinstance(error, TransientError) else StoreUnavailableError
