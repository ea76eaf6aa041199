"""What Azure answers: its refusals, and the pages of a listing, in XML."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from studio_cas.backends.answers import (
    FORBIDDEN,
    PASSING,
    PRECONDITION_FAILED,
    UNAUTHORIZED,
    RefusalError,
    moment,
    seconds_to_wait,
    shortened,
)
from studio_cas.backends.base import ObjectStat
from studio_cas.backends.bucket import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from xml.etree import ElementTree as ET

    from studio_cas.backends.answers import Meaning

_SKEW_SECONDS: Final = 600.0  # a signature is taken for 15 minutes
# https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
_PASSING_CODES: Final = frozenset(
    {"ServerBusy", "InternalError", "OperationTimedOut", "AccountBeingCreated"}
    | {"Md5Mismatch"}  # what was sent did not arrive as it was sent
    | {"ContainerBeingDeleted"}  # it takes half a minute until the name is free
)
_EXISTS_CODES: Final = frozenset({"BlobAlreadyExists", "UnauthorizedBlobOverwrite"})  # the second: and may not anyway
NOT_PERMITTED: Final = "AuthorizationPermissionMismatch"
_LOGIN: Final = "the credential is missing, wrong or expired: log in again"
_NETWORK: Final = "the account may be closed to this network, or to this kind of credential"
_CREDENTIAL_ADVICE: Final = {
    "AuthenticationFailed": "the account's key is wrong, or the SAS token is wrong or has expired",
    "InvalidAuthenticationInfo": _LOGIN,
    "NoAuthenticationInformation": _LOGIN,
    NOT_PERMITTED: "the token or login has no right to it: docs/security.md names roles",
    "AuthorizationResourceTypeMismatch": "the SAS token is for something else than containers and their blobs",
    "AuthorizationServiceMismatch": "the SAS token is for another service than blobs",
    "AuthorizationProtocolMismatch": "the SAS token wants an endpoint with https://",
    "AuthorizationSourceIPMismatch": "the SAS token is for other addresses than this machine's",
    "AuthorizationFailure": _NETWORK,
    "KeyBasedAuthenticationNotPermitted": "the account takes no keys: log in, with `az login` or an identity",
    "AccountIsDisabled": "the account is disabled: ask who administers it",
    "BlobImmutableDueToPolicy": "a policy of the container keeps it",
}
_ADVICE: Final = {
    "AccountRequiresHttps": "the endpoint has to begin with https://",
    "BlobArchived": "it was moved to the archive tier: bring it back, and end the rule that moved it",
    "InvalidResourceName": "a container's name has 3 to 63 lower-case letters, digits and '-'",
}


def read_refusal(
    status: int, headers: Mapping[str, str], body: bytes, clock: Callable[[], float] = time.time
) -> RefusalError:
    """The error in an answer; `headers` are found whatever their case. A text about it is the first line of its own."""
    found = _root(body)
    code = headers.get("x-ms-error-code") or (found.findtext("Code") or "" if found is not None else "")
    message = (found.findtext("Message") or "" if found is not None else "").partition("RequestId:")[0]
    advice = _CREDENTIAL_ADVICE.get(code) or _ADVICE.get(code, "")
    if status == UNAUTHORIZED and not advice:
        advice = _LOGIN
    if code == "AuthenticationFailed" and _clock_is_off(headers, clock):
        advice = "set this machine's clock"
    return RefusalError(
        status, shortened(message or code), code, _meaning(status, code), seconds_to_wait(headers), advice
    )


def read_page(body: bytes) -> Page:
    """A page of a listing. Raises ValueError where it is none, or cut short; LookupError for an account without order.

    The latter are those with a hierarchical namespace ("Data Lake Storage"): they list folders as objects, and sort by
    segments.
    """
    found = _root(body)
    blobs = found.find("Blobs") if found is not None else None
    if found is None or blobs is None:
        raise ValueError("no listing")
    if blobs.find("*/Properties/ResourceType") is not None:
        raise LookupError("a hierarchical namespace")
    objects = [_stat(item) for item in blobs.iterfind("Blob")]
    folders = [_name(item) for item in blobs.iterfind("BlobPrefix")]
    return Page(objects, folders, found.findtext("NextMarker") or "")


def when(date: str) -> float:
    """Seconds since the epoch, of a date as HTTP writes it. Raises ValueError."""
    return parsedate_to_datetime(date).timestamp()


def _stat(item: ET.Element) -> ObjectStat:
    properties = item.find("Properties")
    if properties is None:
        raise ValueError("no properties")
    size, modified = properties.findtext("Content-Length") or "", properties.findtext("Last-Modified") or ""
    return ObjectStat(_name(item), int(size), when(modified))


def _name(item: ET.Element) -> str:
    found = item.find("Name")
    if found is None or not found.text:
        raise ValueError("no name")
    return unquote(found.text) if found.get("Encoded") == "true" else found.text


def _root(body: bytes) -> ET.Element | None:
    from xml.etree import ElementTree as ET

    try:
        return ET.fromstring(body.removeprefix(b"\xef\xbb\xbf"))  # noqa: S314 - the service's, which may do worse to us
    except (ET.ParseError, ValueError):
        return None


def _clock_is_off(headers: Mapping[str, str], clock: Callable[[], float]) -> bool:
    theirs = moment(headers.get("Date", ""))
    return theirs is not None and abs(theirs - clock()) > _SKEW_SECONDS


def _meaning(status: int, code: str) -> Meaning:
    if code in _EXISTS_CODES or status == PRECONDITION_FAILED:
        return "exists"
    if status in PASSING or code in _PASSING_CODES:
        return "passing"
    return "denied" if status in {UNAUTHORIZED, FORBIDDEN} or code in _CREDENTIAL_ADVICE else "other"
