"""A backend whose mood a test sets: it answers, it is away, it refuses the credential, or it dies at a certain call."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from studio_cas.backends.memory import MemoryBackend
from studio_cas.backends.passing import Passing

if TYPE_CHECKING:
    from collections.abc import Callable

    from studio_cas.backends.base import Backend
    from studio_cas.errors import StudioError

CALLS: Final = ("prepare", "create", "read", "read_tail", "stat", "list", "list_names", "delete")


class KilledError(BaseException):
    """The process ends here: nothing after it happens, and nobody catches it."""


class Deaths:
    """Counts the steps of all backends that share it, and dies at one of them: before it is done, or after."""

    def __init__(self) -> None:
        self.steps = 0
        self._at: int | None = None
        self._after = False
        self._lock = threading.Lock()

    def arm(self, steps: int, *, after: bool) -> None:
        """Die at the step that comes after `steps` others; without effect where there are fewer."""
        self._at, self._after = self.steps + steps, after

    def disarm(self) -> None:
        """Live on."""
        self._at = None

    def step(self, work: Callable[[], Any]) -> Any:
        """Do `work`, or die."""
        with self._lock:
            now, self.steps = self.steps, self.steps + 1
        dies = self._at is not None and now >= self._at
        if dies and not self._after:
            raise KilledError
        done = work()
        if dies:
            raise KilledError
        return done


class Moody(Passing):
    """As `inner` as long as `error` is None; otherwise every call raises it, after `patience` more that are answered.

    With `loses_answers`, what is asked is done before the error is raised. `calls` counts all.
    """

    def __init__(self, inner: Backend | None = None, deaths: Deaths | None = None) -> None:
        super().__init__(inner or MemoryBackend("moody"))
        self.deaths = deaths or Deaths()
        self.error: StudioError | None = None
        self.loses_answers = False
        self.patience = 0
        self.calls = 0

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return partial(self._answer, found) if name in CALLS else found

    def _answer(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        if self.error is not None and self.patience > 0:
            self.patience -= 1
        elif self.error is not None:
            if self.loses_answers:
                method(*arguments, **options)
            raise type(self.error)(*self.error.args)
        return self.deaths.step(lambda: method(*arguments, **options))
