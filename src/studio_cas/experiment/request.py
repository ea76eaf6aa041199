"""What a run is asked for, how it talks to the person, and what it says at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from studio_cas.experiment.captures import Outcome
    from studio_cas.experiment.lifecycle import Status
    from studio_cas.experiment.specs import CaptureSpec, ReuseSpec
    from studio_cas.progress import Progress


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run. `command` is complete; `python` is the Python that runs it; `defaults` the default artifacts.

    `repeats`: the attempt whose record is repeated, as `exp@2`.
    """

    command: tuple[str, ...]
    folder: Path
    python: str
    experiment: str | None = None
    captures: tuple[CaptureSpec, ...] = ()
    reuses: tuple[ReuseSpec, ...] = ()
    defaults: tuple[str, ...] = ()
    workspace_all: bool = False
    join: bool = False
    repeats: str = ""


@dataclass(frozen=True, slots=True)
class Voice:
    """How a run talks to the person: sentences, and progress of long work."""

    say: Callable[[str], None]
    progress: Callable[[], Progress]


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. `problems` are sentences about what could not be captured, and where it still is."""

    experiment: str
    attempt: int
    status: Status
    exit_code: int
    outcomes: tuple[Outcome, ...]
    problems: tuple[str, ...]
