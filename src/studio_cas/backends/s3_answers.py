"""What S3, and services that speak its language, answer when they refuse, read from the parsed XML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from studio_cas.backends.answers import (
    FORBIDDEN,
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

_NOT_MODIFIED: Final = 304  # what some services answer to a create of what exists
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_PASSING_CODES: Final = frozenset(
    {"SlowDown", "RequestTimeout", "RequestTimeTooSlow", "InternalError", "ServiceUnavailable", "ThrottlingException"}
    | {"BadDigest", "IncompleteBody"}  # what was sent did not arrive as it was sent
    | {"OperationAborted", "ConditionalRequestConflict"}  # another request for the same name is under way
)
_CREDENTIAL_ADVICE: Final = {
    "InvalidAccessKeyId": "the access key is not known there: it was deleted, or belongs to another service",
    "SignatureDoesNotMatch": "the secret key is wrong, or belongs to another access key",
    "ExpiredToken": "the credential has expired: log in again",
    "TokenRefreshRequired": "the credential has expired: log in again",
    "InvalidToken": "the session token is wrong",
    "RequestTimeTooSkewed": "set this machine's clock",
    "AccountProblem": "the account is not in order: ask who administers it",
    "NotSignedUp": "the account is not signed up for S3",
}
_ADVICE: Final = {
    "PermanentRedirect": "set `region:` in the storage section to the bucket's",
    "AuthorizationHeaderMalformed": "set `region:` in the storage section to the bucket's",
    "IllegalLocationConstraintException": "set `region:` in the storage section to where the bucket shall be",
    "InvalidBucketName": "a bucket's name has 3 to 63 lower-case letters, digits, '-' and '.'",
    "NotImplemented": "the service can not create an object only where there is none: use another one",
    "TooManyBuckets": "delete one, or use one that exists",
}


def read_refusal(answer: Mapping[str, Any]) -> RefusalError:
    """The error that botocore parsed."""
    error, about = answer.get("Error", {}), answer.get("ResponseMetadata", {})
    code, status = str(error.get("Code", "")), int(about.get("HTTPStatusCode", 0))
    advice = _CREDENTIAL_ADVICE.get(code) or _ADVICE.get(code, "")
    if status == UNAUTHORIZED and not advice:
        advice = "the credential is missing, wrong or expired"
    return RefusalError(
        status,
        shortened(str(error.get("Message") or code)),
        code,
        _meaning(status, code),
        seconds_to_wait(about.get("HTTPHeaders", {})),
        advice,
    )


def _meaning(status: int, code: str) -> Meaning:
    if status in PASSING or code in _PASSING_CODES:
        return "passing"
    if status in {PRECONDITION_FAILED, _NOT_MODIFIED}:
        return "exists"
    return "denied" if status in {UNAUTHORIZED, FORBIDDEN} or code in _CREDENTIAL_ADVICE else "other"
