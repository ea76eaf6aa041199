"""A small S3 that misbehaves on demand: see `faulty_http`."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from studio_cas.testing.faulty_http import FaultyService, ranged

if TYPE_CHECKING:
    from studio_cas.testing.faulty_http import Answer

_TIME: Final = "2026-01-02T03:04:05.678Z"
_HTTP_TIME: Final = "Fri, 02 Jan 2026 03:04:05 GMT"
_CODES: Final = {
    400: "BadDigest", 403: "AccessDenied", 409: "BucketAlreadyExists", 412: "PreconditionFailed", 416: "InvalidRange",
    429: "SlowDown", 500: "InternalError", 503: "SlowDown",
}  # fmt: skip


class FaultyS3(FaultyService):
    """The REST API, as far as a store needs it."""

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        """Status, headers and body for a request, when nothing goes wrong."""
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        key = unquote(url.path).strip("/").partition("/")[2]
        with self.lock:
            if method == "PUT" and not key:
                self.bucket_exists = True
                return 200, {}, b""
            if not self.bucket_exists:
                return _error(404, "The specified bucket does not exist", "NoSuchBucket")
            if not key:
                return self._list(query)
            return self._put(key, headers, body) if method == "PUT" else self._one(method, key, headers)

    def _one(self, method: str, key: str, headers: Any) -> Answer:
        if method == "DELETE" and self.create_only:
            return _error(403, "Access Denied")
        if method == "DELETE":  # as S3: no matter whether it is there
            self.objects.pop(key, None)
            return 204, {}, b""
        if key not in self.objects:
            return _error(404, "The specified key does not exist.", "NoSuchKey")
        content = self.objects[key]
        if method == "HEAD":
            return 200, {"Content-Length": str(len(content)), "Last-Modified": _HTTP_TIME}, b""
        found = ranged(content, headers.get("Range", "bytes=0-"))
        return (206, *found) if found else _error(416, "The requested range is not satisfiable")

    def _list(self, query: dict[str, str]) -> Answer:
        after, most = query.get("continuation-token", ""), int(query.get("max-keys", 1000))
        names, prefixes, goes_on = self.page(query.get("prefix", ""), query.get("delimiter", ""), after, most)
        rows = [
            f"<Contents><Key>{escape(name)}</Key><LastModified>{_TIME}</LastModified>"
            f"<Size>{len(self.objects[name])}</Size></Contents>"
            for name in names
        ]
        rows += [f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in prefixes]
        if goes_on:
            rows.append(f"<NextContinuationToken>{escape(goes_on)}</NextContinuationToken>")
        truncated = str(bool(goes_on)).lower()
        return _xml(200, f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{''.join(rows)}</ListBucketResult>")

    def _put(self, key: str, headers: Any, body: bytes) -> Answer:
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        if headers.get("Content-MD5") != base64.b64encode(digest).decode():
            return _error(400, "The Content-MD5 you specified did not match what we received.")
        if self.create_only and headers.get("If-None-Match") != "*":  # as the policy in docs/security.md demands
            return _error(403, "Access Denied")
        if key in self.objects and headers.get("If-None-Match") == "*" and not self.ignores_preconditions:
            return _error(412, "At least one of the pre-conditions you specified did not hold")
        self.objects[key] = body
        return 200, {"ETag": f'"{digest.hex()}"'}, b""

    def refusal(self, status: int, message: str, reason: str) -> Answer:
        """An error in XML."""
        return _error(status, message, reason)

    def damaged(self, body: bytes) -> bytes:
        """The first bit is flipped."""
        return bytes([body[0] ^ 1]) + body[1:]


def _xml(status: int, document: str) -> Answer:
    return status, {"Content-Type": "application/xml"}, f'<?xml version="1.0" encoding="UTF-8"?>{document}'.encode()


def _error(status: int, message: str, code: str = "") -> Answer:
    code = code or _CODES.get(status, f"Status{status}")
    return _xml(status, f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>")
