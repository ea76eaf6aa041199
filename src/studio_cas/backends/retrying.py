"""A decorator that asks again after what may pass, with exponential backoff, full jitter, and a budget.

A create that got no answer may have happened. When the next attempt then finds an object under the key, it is read
back and compared: the same content means that it was ours. Two writers with the same content would both believe they
won, so an object that decides a race must say who wrote it.

Backoff: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ ("full jitter").
"""

from __future__ import annotations

import hashlib
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from studio_cas.backends.passing import Passing
from studio_cas.errors import NotFoundError, ObjectExistsError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from studio_cas.backends.base import Backend, ObjectStat
    from studio_cas.ids import Buffer

T = TypeVar("T")
_COMPARED_AT_ONCE: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to keep asking. Times are in seconds."""

    attempts: int = 8
    seconds: float = 120.0
    """No attempt begins later than this after the first one."""
    first: float = 0.5
    """The longest pause before the second attempt; it doubles with each one."""
    longest: float = 20.0


FULL: Final = Budget()
# Where somebody keeps what is written until the store is back: soon enough to say that it is away.
HURRIED: Final = Budget(attempts=3, seconds=15.0, longest=2.0)
# Until the first answer: a person waits to hear that the store's name or address is wrong.
SHORT: Final = Budget(attempts=4, seconds=20.0)


class Retrying(Passing):
    """Pass everything on to `inner`, again where it raises TransientError.

    `unmet` is the budget until the store has answered for the first time. `clock`, `sleep` and `jitter` are for tests.
    """

    def __init__(
        self,
        inner: Backend,
        budget: Budget = FULL,
        *,
        unmet: Budget = SHORT,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(inner)
        self._budget = unmet
        self._budget_once_met = budget
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter

    def prepare(self) -> None:
        """As `inner`."""
        self._pursue(self.inner.prepare)

    def create(self, key: str, parts: Sequence[Buffer]) -> None:
        """As `inner`; after a lost answer, an object with this very content is a success."""
        doubtful = False

        def create() -> None:
            nonlocal doubtful
            try:
                self.inner.create(key, parts)
            except TransientError:
                doubtful = True
                raise
            except ObjectExistsError:
                if not doubtful or not self._holds(key, parts):
                    raise

        self._pursue(create)

    def read(self, key: str, offset: int = 0, length: int | None = None) -> Buffer:
        """As `inner`."""
        return self._pursue(lambda: self.inner.read(key, offset, length))

    def read_tail(self, key: str, length: int) -> tuple[Buffer, int]:
        """As `inner`."""
        return self._pursue(lambda: self.inner.read_tail(key, length))

    def stat(self, key: str) -> ObjectStat:
        """As `inner`."""
        return self._pursue(lambda: self.inner.stat(key))

    def list(self, prefix: str, limit: int | None = None) -> Iterator[ObjectStat]:
        """As `inner`; a listing that breaks off is begun again, and goes on where it was."""
        return self._resumed(lambda: self.inner.list(prefix, limit), lambda found: found.key)

    def list_names(self, prefix: str) -> Iterator[str]:
        """As `inner`; see `list`."""
        return self._resumed(lambda: self.inner.list_names(prefix), lambda name: name)

    def delete(self, key: str) -> None:
        """As `inner`; after a lost answer, an object that is gone was deleted by us."""
        doubtful = False

        def delete() -> None:
            nonlocal doubtful
            try:
                self.inner.delete(key)
            except TransientError:
                doubtful = True
                raise
            except NotFoundError:
                if not doubtful:
                    raise

        self._pursue(delete)

    def _patience(self) -> _Patience:
        return _Patience(self._budget, self._clock, self._jitter)

    def _pursue(self, request: Callable[[], T]) -> T:
        """The answer to `request`, or its last TransientError when the budget is used up."""
        patience = self._patience()
        while True:
            try:
                answer = request()
            except TransientError as error:
                pause = patience.pause_after(error)
                if pause is None:
                    raise
            else:
                self._budget = self._budget_once_met
                return answer
            self._sleep(pause)

    def _resumed(self, start: Callable[[], Iterator[T]], name: Callable[[T], str]) -> Iterator[T]:
        """The listing that `start` gives, in order of `name`; each success renews the patience."""
        last: str | None = None
        patience = self._patience()
        while True:
            try:
                for item in start():
                    if last is None or name(item) > last:
                        last = name(item)
                        self._budget = self._budget_once_met
                        patience = self._patience()
                        yield item
            except TransientError as error:
                pause = patience.pause_after(error)
                if pause is None:
                    raise
            else:
                return
            self._sleep(pause)

    def _holds(self, key: str, parts: Sequence[Buffer]) -> bool:
        """Whether the object has exactly this content. Raises TransientError."""
        try:
            size = self.inner.stat(key).size
            if size != sum(len(part) for part in parts):
                return False
            ours, theirs = hashlib.sha256(), hashlib.sha256()
            for part in parts:
                ours.update(part)
            for offset in range(0, size, _COMPARED_AT_ONCE):
                theirs.update(self.inner.read(key, offset, min(_COMPARED_AT_ONCE, size - offset)))
        except NotFoundError:
            return False
        return ours.digest() == theirs.digest()


class _Patience:
    """What is left of a budget."""

    def __init__(self, budget: Budget, clock: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._budget = budget
        self._clock = clock
        self._jitter = jitter
        self._failed = 0
        self._began = clock()

    def pause_after(self, error: TransientError) -> float | None:
        """Seconds to wait before the next attempt, at least what the service asked for; None to give up."""
        budget = self._budget
        self._failed += 1
        if self._failed >= budget.attempts:
            return None
        pause = self._jitter() * min(budget.longest, budget.first * 2.0 ** (self._failed - 1))
        asked = getattr(error, "retry_after", None)
        if asked is not None:
            pause = max(pause, float(asked))
        left = budget.seconds - (self._clock() - self._began)
        return pause if pause <= left else None
