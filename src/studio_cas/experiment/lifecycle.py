"""The status of an attempt, folded from its records: pure, and the same wherever it is computed.

created → waiting → running → finished | failed | stopped
                      └─ heartbeats stay away → lost
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studio_cas.formats.experiment import Created, Ended, Started

PATIENCE = 300.0  # seconds, ten heartbeats: a machine may sleep, a network be away for a moment, clocks differ


class Status(StrEnum):
    """What an attempt is doing, or how it ended."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Attempt:
    """All that is known of one attempt. `seen`: the last sign of life; times in seconds since the epoch."""

    created: Created
    status: Status
    exit_code: int | None
    started: Started | None
    ended: Ended | None
    seen: float

    @property
    def duration(self) -> float | None:
        """Seconds from start to end, or to the last sign of life; None before the start."""
        if self.started is None:
            return None
        return max(0.0, (self.ended.time if self.ended else self.seen) - self.started.time)


def fold(
    created: Created, started: Started | None, heartbeat: float | None, ended: Ended | None, now: float
) -> Attempt:
    """The attempt that these records tell of; `heartbeat` is the time of the newest one."""
    seen = max(created.time, started.time if started else 0.0, heartbeat or 0.0, ended.time if ended else 0.0)
    status = _status(started or heartbeat, ended, now - seen)
    return Attempt(created, status, ended.exit_code if ended else None, started, ended, seen)


def _status(started: object, ended: Ended | None, silence: float) -> Status:
    if ended is not None:
        known = {Status.FINISHED, Status.FAILED, Status.STOPPED}
        return Status(ended.status) if ended.status in known else Status.FAILED
    if not started:
        return Status.WAITING
    return Status.LOST if silence > PATIENCE else Status.RUNNING


def ending(exit_code: int | None, *, stop_asked: bool) -> Status:
    """How an attempt ended whose script returned `exit_code` (None: it never started)."""
    if stop_asked:
        return Status.STOPPED
    return Status.FINISHED if exit_code == 0 else Status.FAILED
