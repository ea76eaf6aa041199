"""What a cloud's service answers when it refuses, as our errors: which may pass, which need another credential."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, Literal

from studio_cas.errors import PermissionDeniedError, StoreUnavailableError, StudioError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Meaning = Literal["passing", "denied", "exists", "other"]

# https://cloud.google.com/storage/docs/retry-strategy, and the same for S3
PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
BUSY: Final = frozenset({429, 503})
LONGEST_MESSAGE: Final = 300
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
CONFLICT: Final = 409
PRECONDITION_FAILED: Final = 412
RANGE_NOT_SATISFIABLE: Final = 416


class BusyError(TransientError):
    """The service asks to come back later; `retry_after` is in seconds, None where it did not say."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(eq=False)  # not frozen: Python writes the traceback into it
class RefusalError(Exception):
    """An HTTP status of 300 or more; never leaves this package.

    `means` says what follows: ask again (passing), another credential is needed (denied), a create found an object
    (exists; of no importance elsewhere). `advice` is what to do about it, in a few words, where the service's own text
    does not say.
    """

    status: int
    message: str
    reason: str
    means: Meaning
    retry_after: float | None = None
    advice: str = ""

    @property
    def busy(self) -> bool:
        """Whether the service is asked too much, and not merely out of order: 429, 503, or a quota (403)."""
        return self.status in BUSY or (self.means == "passing" and self.status == FORBIDDEN)


def explain(refusal: RefusalError, what: str) -> StudioError:
    """The error that a caller sees; `what` could not be done."""
    answer = f"{what}: {refusal.message or 'no reason given'} ({refusal.status})"
    if refusal.advice:
        answer = f"{answer}: {refusal.advice}"
    if refusal.means == "passing":
        return BusyError(answer, refusal.retry_after)
    if refusal.means == "denied" or refusal.status in {UNAUTHORIZED, FORBIDDEN}:
        return PermissionDeniedError(answer)
    return StoreUnavailableError(answer)


def shortened(message: str) -> str:
    """`message` in one line, and not longer than a person wants to read."""
    return " ".join(message.split())[:LONGEST_MESSAGE]


def seconds_to_wait(headers: Mapping[str, str], clock: Callable[[], float] = time.time) -> float | None:
    """What `Retry-After` asks for, a number of seconds or a date; None where there is none that makes sense.

    A date is compared with the answer's own, where it has one: this machine's clock (seconds since the epoch) may be
    wrong.
    """
    found = {name.lower(): value for name, value in headers.items()}
    asked = found.get("retry-after", "")
    with suppress(ValueError):
        return max(0.0, float(asked))
    until, now = moment(asked), moment(found.get("date", ""))
    return None if until is None else max(0.0, until - (clock() if now is None else now))


def moment(date: str) -> float | None:
    """Seconds since the epoch of a date in a header; None where it is none."""
    try:
        found = parsedate_to_datetime(date)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
