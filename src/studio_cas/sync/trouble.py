"""Why a folder is not captured right now: an error as a state, with what to do about it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from studio_cas.errors import (
    CorruptError,
    LocalIOError,
    NoSpaceError,
    NotFoundError,
    PermissionDeniedError,
    StoreUnavailableError,
    StudioError,
    TransientError,
    UsageError,
)

_ADVICE = (  # the first that fits
    (NotFoundError, "make it again: it is looked for all the time; or end this: studio sync stop"),
    (NoSpaceError, "make room: it is tried again by itself"),
    (PermissionDeniedError, "mend the credential (studio doctor tells more): it is tried again by itself"),
    (TransientError, "nothing: it is tried again by itself"),
    (StoreUnavailableError, "bring the store back, or stop, and start again with another one"),
    (CorruptError, "restore the damaged object, or capture under another name"),
    (LocalIOError, "make it readable: it is tried again by itself"),
    (UsageError, "stop, and start again with what the message asks for"),
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """`kind`: of the error, or `fault`; `since`: when it began, in seconds since the epoch; `tries`: since then.

    `passing`: it may pass by itself, within seconds.
    """

    kind: str
    sentence: str
    advice: str
    exit_code: int
    passing: bool
    since: float
    tries: int = 1

    def record(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "kind": self.kind,
            "sentence": self.sentence,
            "advice": self.advice,
            "since": self.since,
            "tries": self.tries,
        }


def trouble_of(error: Exception, earlier: Trouble | None, now: float) -> Trouble:
    """The state that `error` is; one of the same kind as `earlier` goes on since then."""
    kind, exit_code = (error.kind, error.exit_code) if isinstance(error, StudioError) else ("fault", 70)
    since, tries = (earlier.since, earlier.tries + 1) if earlier and earlier.kind == kind else (now, 1)
    passing = not isinstance(error, NotFoundError | PermissionDeniedError | CorruptError | UsageError)
    return Trouble(kind, told(error), _advice_for(error), exit_code, passing, since, tries)


def told(error: Exception) -> str:
    """The error as a sentence; of a fault of ours the traceback goes to stderr where that is asked for."""
    if isinstance(error, StudioError | OSError):
        return str(error)
    if os.environ.get("STUDIO_TRACEBACK") == "1":
        import traceback

        traceback.print_exception(error)
    return f"unexpected {type(error).__name__}: {error}; this is a fault of studio, STUDIO_TRACEBACK=1 shows where"


def _advice_for(error: Exception) -> str:
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return advice
    return "report it, with the traceback that STUDIO_TRACEBACK=1 shows: it is tried again by itself"
