"""What Google Cloud Storage answers when it refuses, as our errors: which may pass, which need another credential."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from studio_cas.errors import PermissionDeniedError, StoreUnavailableError, StudioError, TransientError

if TYPE_CHECKING:
    from collections.abc import Mapping

# https://cloud.google.com/storage/docs/retry-strategy
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
_QUOTA_REASONS: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})
_HELD: Final = frozenset({"retentionPolicyNotMet", "objectUnderActiveHold"})
_LONGEST_MESSAGE: Final = 300
NOT_FOUND: Final = 404
CONFLICT: Final = 409
PRECONDITION_FAILED: Final = 412
RANGE_NOT_SATISFIABLE: Final = 416
FORBIDDEN: Final = 403
UNAUTHORIZED: Final = 401


class BusyError(TransientError):
    """The service asks to come back later; `retry_after` is in seconds, None where it did not say."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(eq=False)  # not frozen: Python writes the traceback into it
class RefusalError(Exception):
    """An HTTP status of 400 or more; never leaves this package."""

    status: int
    message: str
    reason: str
    retry_after: float | None

    @property
    def object_is_there(self) -> bool:
        """True where a create was refused because the object exists.

        Replacing an object needs the permission to delete, which most credentials of a store lack; a service that
        checks it before the precondition says 403 instead of 412.
        """
        if self.status == FORBIDDEN:
            return "storage.objects.delete" in self.message or self.reason in _HELD
        return self.status == PRECONDITION_FAILED


def read_refusal(status: int, headers: Mapping[str, str], body: bytes) -> RefusalError:
    """The error that `body` describes, in JSON, or as text where a proxy answered."""
    message, reason = "", ""
    with suppress(ValueError, TypeError, LookupError, AttributeError):
        error = json.loads(body)["error"]
        message = error["message"]
        reason = error["errors"][0]["reason"]
    message = message or body[:_LONGEST_MESSAGE].decode("utf-8", "replace").strip()
    return RefusalError(status, " ".join(message.split())[:_LONGEST_MESSAGE], reason, _seconds(headers))


def explain(refusal: RefusalError, what: str) -> StudioError:
    """The error that a caller sees; `what` could not be done."""
    answer = f"{what}: {refusal.message or 'no reason given'} ({refusal.status})"
    if refusal.status in _PASSING or refusal.reason in _QUOTA_REASONS:
        return BusyError(answer, refusal.retry_after)
    if refusal.status == UNAUTHORIZED:
        return PermissionDeniedError(f"{answer}: the credential is missing, wrong or expired")
    if refusal.status == FORBIDDEN:
        return PermissionDeniedError(answer)
    return StoreUnavailableError(answer)


def _seconds(headers: Mapping[str, str]) -> float | None:
    """The `Retry-After` header, where it is a number of seconds; a date is not worth the code."""
    with suppress(ValueError):
        return max(0.0, float(headers.get("Retry-After", "")))
    return None
