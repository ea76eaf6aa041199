"""What `studio run` says to a person: sentences on stderr, and at the end what became of each artifact."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from studio_cas.cli.progress_bar import progress_bar
from studio_cas.cli.rendering import counted, printable, size

if TYPE_CHECKING:
    from studio_cas.experiment.captures import Outcome
    from studio_cas.experiment.request import RunResult, Voice

NAMES_SHOWN = 3


def voice_of(*, quiet: bool) -> Voice:
    """How a run talks to the person at this terminal."""
    from studio_cas.experiment.request import Voice

    return Voice(_silent if quiet else say, progress_bar)


def say(sentence: str) -> None:
    """One line on stderr."""
    with contextlib.suppress(OSError):  # a terminal that is gone must not end the run
        sys.stderr.write(f"studio: {printable(sentence)}\n")
        sys.stderr.flush()


def _silent(_sentence: str) -> None:
    pass


def report(result: RunResult, *, quiet: bool) -> None:
    """Say how a run ended, and what was captured; with `quiet`, only what went wrong."""
    for outcome in result.outcomes:
        _report_left_out(outcome)
    for problem in result.problems:
        say(problem)
    if quiet:
        return
    say(f"{result.experiment} {result.status} with exit code {result.exit_code}")
    for outcome in result.outcomes:
        if outcome.number is not None:
            amount = f"{counted(outcome.files, 'file')}, {size(outcome.size)}"
            say(f"  {result.experiment}/{outcome.artifact.tag}@{outcome.number}: {amount}")


def _report_left_out(outcome: Outcome) -> None:
    from studio_cas.worktree.steady import STILL_WRITTEN

    left_out = list(outcome.skipped)
    left_out += [f"{path} {STILL_WRITTEN}" for path in outcome.stale]
    for sentence in left_out[:NAMES_SHOWN]:
        say(f"{outcome.artifact.tag}: {sentence}")
    if left_out[NAMES_SHOWN:]:
        say(f"{outcome.artifact.tag}: and {counted(len(left_out) - NAMES_SHOWN, 'more path')}")
