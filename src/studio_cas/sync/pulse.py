"""What a daemon does beside its captures, at a pace of its own: however rare those are, and however long one takes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

LONGEST = 30.0  # seconds between two beats: so soon a run that somebody wants to stop knows of it, wherever it is


class Pulse:
    """Calls `beat` in a thread of its own, each time `pause` seconds after the last, the first time at once.

    One that takes longer is not overlapped: the next is due when it has ended.
    """

    def __init__(self, beat: Callable[[], None], period: float) -> None:
        self._beat = beat
        self._pause = min(period, LONGEST)
        self._thread = ThreadPoolExecutor(1, "beat")
        self._due = float("-inf")
        self._last: Future[None] | None = None

    def due(self, now: float) -> float:
        """When the next beat is due: while one goes on, the next look at whether it has ended."""
        return self._due if self._last is None or self._last.done() else max(self._due, now + 1.0)

    def tick(self, now: float) -> None:
        """Begin a beat, if one is due."""
        if self.due(now) <= now:
            self._due = now + self._pause
            self._last = self._thread.submit(self._beat)

    def close(self, *, wait: bool) -> None:
        """No more beats; with `wait`, the last one has ended."""
        self._thread.shutdown(wait=wait, cancel_futures=True)
