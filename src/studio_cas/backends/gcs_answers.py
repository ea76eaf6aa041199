"""What Google Cloud Storage answers when it refuses, read from its JSON."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from studio_cas.backends.answers import (
    FORBIDDEN,
    LONGEST_MESSAGE,
    PASSING,
    PRECONDITION_FAILED,
    UNAUTHORIZED,
    RefusalError,
    seconds_to_wait,
    shortened,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from studio_cas.backends.answers import Meaning

_QUOTA_REASONS: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})
_HELD: Final = frozenset({"retentionPolicyNotMet", "objectUnderActiveHold"})


def read_refusal(status: int, headers: Mapping[str, str], body: bytes) -> RefusalError:
    """The error that `body` describes, in JSON, or as text where a proxy answered."""
    message, reason = "", ""
    with suppress(ValueError, TypeError, LookupError, AttributeError):
        error = json.loads(body)["error"]
        message = error["message"]
        reason = error["errors"][0]["reason"]
    message = message or body[:LONGEST_MESSAGE].decode("utf-8", "replace").strip()
    return RefusalError(
        status,
        shortened(message),
        reason,
        _meaning(status, message, reason),
        seconds_to_wait(headers),
        "the credential is missing, wrong or expired" if status == UNAUTHORIZED else "",
    )


def _meaning(status: int, message: str, reason: str) -> Meaning:
    """What follows from a refusal.

    Replacing an object needs the permission to delete, which most credentials of a store lack; a service that checks
    it before the precondition says 403 instead of 412.
    """
    if status in PASSING or reason in _QUOTA_REASONS:
        return "passing"
    if status == PRECONDITION_FAILED:
        return "exists"
    if status == FORBIDDEN and ("storage.objects.delete" in message or reason in _HELD):
        return "exists"
    return "denied" if status in {UNAUTHORIZED, FORBIDDEN} else "other"
