"""When the next cycle of a folder begins: a state machine of times, with no clock of its own.

A change is captured when nothing has followed it for `settle` seconds, at most `latest` seconds after the first one,
and every `period` in any case, whether a change was seen or not. A folder in which the last cycle found something is
looked at again after `latest`, where that is sooner: a log that stays open tells of no change. One that cannot be
watched is looked at once a minute at least. After an error the pauses grow, and changes do not shorten them. A cycle is
followed by a rest in proportion to what it cost, so that a folder that is expensive to look at is not looked at all the
time.

All times are seconds of one monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_RETRY, LONGEST_RETRY = 5.0, 120.0
BLIND = 60.0  # seconds between two sweeps of a folder of which no event tells
REST = 20.0  # seconds of rest for a second of processor time: at most 5 % of one core


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often. `period`: seconds between sweeps; `settle`, `latest`: see the module."""

    period: float = 60.0
    settle: float = 2.0
    latest: float = 30.0


class Debounce:
    """The times of one folder. The first cycle is due at `first`."""

    def __init__(self, rhythm: Rhythm, first: float) -> None:
        self._rhythm = rhythm
        self._sweep = first
        self._rest_until = first
        self._began = first
        self._first_change: float | None = None
        self._last_change = first
        self._hurried = False
        self.failures = 0

    @property
    def changed(self) -> bool:
        """Whether a change was seen that no cycle has begun after."""
        return self._first_change is not None

    def change(self, now: float) -> None:
        """A change was seen."""
        if self._first_change is None:
            self._first_change = now
        self._last_change = now

    def hurry(self) -> None:
        """Somebody waits for a cycle that begins from now on."""
        self._hurried = True

    def due(self) -> float:
        """When the next cycle begins; a time that has passed means now."""
        if self._hurried:
            return self._began
        if self._first_change is None or self.failures:
            return self._sweep
        settled = min(self._last_change + self._rhythm.settle, self._first_change + self._rhythm.latest)
        return min(self._sweep, max(settled, self._rest_until))

    def begin(self, now: float) -> None:
        """A cycle begins; changes from now on belong to the next one."""
        self._began = now
        self._first_change = None
        self._hurried = False

    def succeed(self, now: float, *, found: bool, cost: float, blind: bool = False) -> None:
        """The cycle ended well.

        `found`: it made a version, or left paths for later; `cost`: the seconds of processor time that a quiet one
        takes; `blind`: no event tells of changes.
        """
        rhythm = self._rhythm
        self.failures = 0
        self._rest_until = now + min(rhythm.period, REST * cost)
        longest = rhythm.latest if found else BLIND if blind else rhythm.period
        self._sweep = max(self._began + min(rhythm.period, longest), min(self._rest_until, self._began + rhythm.period))

    def fail(self, now: float) -> None:
        """The cycle failed: what it should have captured is still to do, after a pause."""
        self._sweep = now + min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(self.failures, 10))
        self.failures += 1
        self.change(now)
