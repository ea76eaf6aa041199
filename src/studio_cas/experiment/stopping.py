"""Asking a run to stop: a record, which it sees wherever it is, and an interrupt where it runs on this machine."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio_cas.errors import UsageError
from studio_cas.experiment import records
from studio_cas.experiment.fs_tracker import EXPERIMENT_VARIABLE
from studio_cas.experiment.lifecycle import Status
from studio_cas.experiment.runs import run_name
from studio_cas.formats.experiment import Stop

if TYPE_CHECKING:
    from studio_cas.backends.base import Backend
    from studio_cas.experiment.lifecycle import Attempt

_PROCESSES = Path("/proc")


@dataclass(frozen=True, slots=True)
class StopResult:
    """What was done. `process`: the one of this machine that was interrupted, None where it does not run here."""

    stop: Stop
    process: int | None


def stop_run(backend: Backend, attempt: Attempt, user: str) -> StopResult:
    """Ask `attempt` to stop. Raises UsageError where it has ended.

    The interrupt goes first: the run then knows that it is stopping when it finds the record, and interrupts its
    script only once.
    """
    if attempt.ended is not None:
        raise UsageError(f"{run_name(attempt.created)} has ended: it {_ENDINGS[attempt.status]}")
    process = _interrupt(attempt)
    stop = Stop(time.time(), user, socket.gethostname())
    return StopResult(records.request_stop(backend, attempt.created, stop), process)


_ENDINGS = {Status.FINISHED: "finished", Status.FAILED: "failed", Status.STOPPED: "was stopped"}


def script_here(attempt: Attempt) -> int | None:
    """The process of the script, where it runs on this machine.

    A number may have been given to another process since, or mean one in another container: only a process that
    has the name of the experiment in its environment is taken.
    """
    started = attempt.started
    if started is None or attempt.ended is not None or started.host != socket.gethostname():
        return None
    mark = os.fsencode(f"{EXPERIMENT_VARIABLE}={attempt.created.experiment}")
    with suppress(OSError):  # it is gone, or another user's
        if mark in (_PROCESSES / str(started.pid) / "environ").read_bytes().split(b"\0"):
            return started.pid
    return None


def _interrupt(attempt: Attempt) -> int | None:
    """Interrupt the runner, which passes it on; or the script, where its runner is gone."""
    script = script_here(attempt)
    if script is None or attempt.started is None:
        return None
    try:
        if _parent(script) == attempt.started.runner:
            os.kill(attempt.started.runner, _interruption(attempt.started.runner))
            return attempt.started.runner
        os.killpg(script, _interruption(script))
    except (ProcessLookupError, PermissionError):
        return None
    return script


def _parent(process: int) -> int:
    return int(_status(process).get("PPid", "0"))


def _interruption(process: int) -> signal.Signals:
    """What Ctrl-C sends; SIGTERM where the process ignores that, as in the background of a shell script."""
    ignored = int(_status(process).get("SigIgn", "0"), 16) >> (signal.SIGINT - 1) & 1
    return signal.SIGTERM if ignored else signal.SIGINT


def _status(process: int) -> dict[str, str]:
    """What the system tells of a process; nothing where it is gone."""
    try:
        text = (_PROCESSES / str(process) / "status").read_text(errors="replace")
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
