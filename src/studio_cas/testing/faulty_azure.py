"""A small Azure blob service that misbehaves on demand: see `faulty_http`."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from studio_cas.testing.faulty_http import FaultyService, ranged

if TYPE_CHECKING:
    from studio_cas.testing.faulty_http import Answer

ACCOUNT: Final = "faultyaccount"
_HTTP_TIME: Final = "Fri, 02 Jan 2026 03:04:05 GMT"
_CODES: Final = {
    400: "Md5Mismatch", 403: "InsufficientAccountPermissions", 409: "BlobAlreadyExists", 416: "InvalidRange",
    429: "ServerBusy", 500: "InternalError", 503: "ServerBusy",
}  # fmt: skip


class FaultyAzure(FaultyService):
    """The REST API, as far as a store needs it; the account is in the path, as with the emulator."""

    @property
    def account(self) -> str:
        """The address of the account."""
        return f"{self.endpoint}/{ACCOUNT}"

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        """Status, headers and body for a request, when nothing goes wrong."""
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        key = unquote(url.path).removeprefix(f"/{ACCOUNT}/").partition("/")[2]
        with self.lock:
            if method == "PUT" and query.get("restype") == "container":
                if self.bucket_exists:
                    return _error(409, "The specified container already exists.", "ContainerAlreadyExists")
                self.bucket_exists = True
                return 201, {}, b""
            if not self.bucket_exists:
                return _error(404, "The specified container does not exist.", "ContainerNotFound")
            if query.get("restype") == "account":
                return 200, {"x-ms-is-hns-enabled": str(self.hierarchical).lower()}, b""
            if not key:
                return self._list(query)
            return self._put(key, headers, body) if method == "PUT" else self._one(method, key, headers)

    def _one(self, method: str, key: str, headers: Any) -> Answer:
        if method == "DELETE" and self.create_only:
            return _error(403, "This request is not authorized.", "AuthorizationPermissionMismatch")
        if key not in self.objects:
            return _error(404, "The specified blob does not exist.", "BlobNotFound")
        content = self.objects[key]
        if method == "DELETE":
            del self.objects[key]
            return 202, {}, b""
        if method == "HEAD":
            return 200, {"Content-Length": str(len(content)), "Last-Modified": _HTTP_TIME}, b""
        found = ranged(content, headers.get("x-ms-range", "bytes=0-"))
        return (206, *found) if found else _error(416, "The range specified is invalid.")

    def _list(self, query: dict[str, str]) -> Answer:
        after, most = query.get("marker", ""), int(query.get("maxresults", 5000))
        names, prefixes, goes_on = self.page(query.get("prefix", ""), query.get("delimiter", ""), after, most)
        kind = "<ResourceType>file</ResourceType>" if self.hierarchical else ""
        rows = [
            f"<Blob><Name>{escape(name)}</Name><Properties>{kind}<Last-Modified>{_HTTP_TIME}</Last-Modified>"
            f"<Content-Length>{len(self.objects[name])}</Content-Length></Properties></Blob>"
            for name in names
        ]
        rows += [f"<BlobPrefix><Name>{escape(name)}</Name></BlobPrefix>" for name in prefixes]
        marker = f"<NextMarker>{escape(goes_on)}</NextMarker>"
        return _xml(200, f"<EnumerationResults><Blobs>{''.join(rows)}</Blobs>{marker}</EnumerationResults>")

    def _put(self, key: str, headers: Any, body: bytes) -> Answer:
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        if headers.get("Content-MD5") != base64.b64encode(digest).decode():
            return _error(400, "The MD5 value specified in the request did not match with the MD5 value calculated.")
        if key in self.objects and not self.ignores_preconditions:
            if self.create_only:  # the service looks at the right first
                return _error(403, "This request is not authorized to perform blob overwrites.", self.overwriting)
            if headers.get("If-None-Match") == "*":
                return _error(409, "The specified blob already exists.")
        self.objects[key] = body
        return 201, {"Content-MD5": base64.b64encode(digest).decode()}, b""

    hierarchical = False
    """Whether the account has a hierarchical namespace."""
    overwriting = "UnauthorizedBlobOverwrite"
    """What is answered to who may create, and tries to overwrite."""

    def refusal(self, status: int, message: str, reason: str) -> Answer:
        """An error in XML."""
        return _error(status, message, reason)

    def damaged(self, body: bytes) -> bytes:
        """The first bit is flipped."""
        return bytes([body[0] ^ 1]) + body[1:]


def _xml(status: int, document: str) -> Answer:
    content = (
        f'\ufeff<?xml version="1.0" encoding="utf-8"?>{document}'.encode()
    )  # with a mark, as the service writes it
    return status, {"Content-Type": "application/xml"}, content


def _error(status: int, message: str, code: str = "") -> Answer:
    code = code or _CODES.get(status, f"Status{status}")
    text = f"{escape(message)}\nRequestId:0\nTime:2026-01-02T03:04:05Z"
    status, headers, content = _xml(status, f"<Error><Code>{code}</Code><Message>{text}</Message></Error>")
    return status, {**headers, "x-ms-error-code": code}, content
