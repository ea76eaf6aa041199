"""A small Google Cloud Storage that misbehaves on demand: see `faulty_http`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from studio_cas.backends.gcs_upload import checksum
from studio_cas.testing.faulty_http import BUCKET, FaultyService, ranged

if TYPE_CHECKING:
    from studio_cas.testing.faulty_http import Answer

_NO_DELETE: Final = "writer@x does not have storage.objects.delete access to the Google Cloud Storage object."
_OBJECT: Final = re.compile(r"(?:/upload|/download)?/storage/v1/b/[^/]+/o(?:/([^/]+))?")


class FaultyGcs(FaultyService):
    """The JSON API, as far as a store needs it. `permissions` is what it says of every credential."""

    permissions: frozenset[str] = frozenset()

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        """Status, headers and body for a request, when nothing goes wrong."""
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match = _OBJECT.fullmatch(url.path)
        with self.lock:
            if url.path.endswith("/iam/testPermissions"):
                asked = parse_qs(url.query).get("permissions", [])
                return _json({"permissions": [name for name in asked if name in self.permissions]})
            if match is None and method == "POST":
                self.bucket_exists = True
                return _json({})
            if match is None or not self.bucket_exists:
                return _error(404, "The specified bucket does not exist.")
            if method == "POST":
                return self._upload(headers, body)
            if match[1] is None:
                return self._list(query)
            return self._one(method, unquote(match[1]), query, headers)

    def _one(self, method: str, name: str, query: dict[str, str], headers: Any) -> Answer:
        if name not in self.objects:
            return _error(404, f"No such object: {BUCKET}/{name}")
        if method == "DELETE" and self.create_only:
            return _error(403, _NO_DELETE)
        if method == "DELETE":
            del self.objects[name]
            return 204, {}, b""
        if "alt" in query:
            found = ranged(self.objects[name], headers.get("Range", "bytes=0-"))
            return (206, *found) if found else _error(416, "The requested range cannot be satisfied.")
        return _json(_about(name, self.objects[name]))

    def _list(self, query: dict[str, str]) -> Answer:
        after, most = query.get("pageToken", ""), int(query.get("maxResults", 1000))
        names, prefixes, goes_on = self.page(query.get("prefix", ""), query.get("delimiter", ""), after, most)
        answer: dict[str, Any] = {"items": [_about(name, self.objects[name]) for name in names], "prefixes": prefixes}
        return _json(answer | ({"nextPageToken": goes_on} if goes_on else {}))

    def _upload(self, headers: Any, body: bytes) -> Answer:
        boundary = headers.get("Content-Type", "").partition("boundary=")[2].encode()
        _, about, content = body.split(b"--" + boundary, 3)[:3]
        name = json.loads(about.partition(b"\r\n\r\n")[2])["name"]
        if name in self.objects and self.create_only:
            return _error(403, _NO_DELETE)  # what the service may say where replacing takes the right to delete
        if name in self.objects and not self.ignores_preconditions:
            return _error(412, "Precondition failed")
        self.objects[name] = content.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
        return _json(_about(name, self.objects[name]))

    def refusal(self, status: int, message: str, reason: str) -> Answer:
        """An error in JSON."""
        return _error(status, message, reason)

    def damaged(self, body: bytes) -> bytes:
        """The first bit of the content is flipped."""
        place = body.index(b"\r\n\r\n", body.index(b"octet-stream")) + 4
        return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


def _about(name: str, content: bytes) -> dict[str, str]:
    """The JSON of an object."""
    sums = checksum([content])
    return {"name": name, "size": str(len(content)), "timeCreated": "2026-01-02T03:04:05.678Z", **sums}


def _json(answer: dict[str, Any]) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


def _error(status: int, message: str, reason: str = "") -> Answer:
    error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
    return status, {"Content-Type": "application/json"}, json.dumps({"error": error}).encode()
