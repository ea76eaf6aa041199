"""A small Google Cloud Storage that misbehaves on demand: it loses answers, cuts them short, hangs, and refuses.

One bucket, in memory, in threads of this process. A fault is armed for requests of one method, and used up in order.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from studio_cas.backends.gcs_upload import checksum

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET: Final = "faulty-bucket"
_OBJECT: Final = re.compile(r"(?:/upload|/download)?/storage/v1/b/[^/]+/o(?:/([^/]+))?")
_LONGEST_HANG: Final = 60.0


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request of `method`.

    refuse: answered with `status`, `message`, `reason`, `headers`, and nothing done. lose: done, and the connection
    closed without an answer. hang: not done, and never answered. short: half the body, then the connection is closed.
    less: half the body, well-formed. damage: what is uploaded is stored with its first bit flipped.
    """

    method: str
    kind: Literal["refuse", "lose", "hang", "short", "less", "damage"] = "refuse"
    status: int = 503
    message: str = "try again"
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class FaultyGcs:
    """What the server holds: `objects`, armed `faults`, and the (method, path) of all `requests`."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.objects: dict[str, bytes] = {}
        self.faults: deque[Fault] = deque()
        self.requests: list[tuple[str, str]] = []
        self.bucket_exists = True
        self.ignores_preconditions = False
        self.lock = threading.Lock()
        self.closing = threading.Event()

    def arm(self, *faults: Fault) -> None:
        """Add faults for the next requests of their methods."""
        self.faults.extend(faults)

    def next_fault(self, method: str) -> Fault | None:
        """The first fault armed for `method`, which is used up."""
        with self.lock:
            for fault in self.faults:
                if fault.method == method:
                    self.faults.remove(fault)
                    return fault
        return None

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a request, when nothing goes wrong."""
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match = _OBJECT.fullmatch(url.path)
        with self.lock:
            if match is None and method == "POST":
                self.bucket_exists = True
                return _json({})
            if match is None or not self.bucket_exists:
                return _error(404, "The specified bucket does not exist.")
            if method == "POST":
                return self._upload(headers, body)
            if match[1] is None:
                return self._list(query.get("prefix", ""), int(query.get("maxResults", 1000)))
            return self._one(method, unquote(match[1]), query, headers)

    def _one(self, method: str, name: str, query: dict[str, str], headers: Any) -> tuple[int, dict[str, str], bytes]:
        if name not in self.objects:
            return _error(404, f"No such object: {BUCKET}/{name}")
        if method == "DELETE":
            del self.objects[name]
            return 204, {}, b""
        if "alt" in query:
            return _ranged(self.objects[name], headers.get("Range", "bytes=0-"))
        return _json(_about(name, self.objects[name]))

    def _list(self, prefix: str, most: int) -> tuple[int, dict[str, str], bytes]:
        names = sorted(name for name in self.objects if name.startswith(prefix))[:most]
        return _json({"items": [_about(name, self.objects[name]) for name in names]})

    def _upload(self, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        boundary = headers.get("Content-Type", "").partition("boundary=")[2].encode()
        _, about, content = body.split(b"--" + boundary, 3)[:3]
        name = json.loads(about.partition(b"\r\n\r\n")[2])["name"]
        if name in self.objects and not self.ignores_preconditions:
            return _error(412, "Precondition failed")
        self.objects[name] = content.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
        return _json(_about(name, self.objects[name]))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: ClassVar[FaultyGcs]

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is given
        """Say nothing: faults are the point."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.state.requests.append((self.command, self.path))
        fault = self.state.next_fault(self.command)
        kind = fault.kind if fault else ""
        if kind == "hang":
            self.state.closing.wait(_LONGEST_HANG)
        if fault and kind == "refuse":
            status, headers, content = _error(fault.status, fault.message, fault.reason)
            return self._send(status, headers | fault.headers, content)
        if kind == "damage":
            place = body.index(b"\r\n\r\n", body.index(b"octet-stream")) + 4
            body = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        if kind != "hang":
            answer = self.state.answer(self.command, self.path, self.headers, body)
        if kind in {"hang", "lose"}:
            self.close_connection = True
            return None
        return self._send(*answer, cut=kind)

    def _send(self, status: int, headers: dict[str, str], content: bytes, cut: str = "") -> None:
        part = content[: len(content) // 2] if cut in {"short", "less"} else content
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(content if cut == "short" else part)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(part)
        self.close_connection = cut == "short"


@contextmanager
def faulty_gcs() -> Iterator[FaultyGcs]:
    """Serve on a free port of 127.0.0.1 until the block ends."""

    class Handler(_Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.state = state = FaultyGcs(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        state.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _about(name: str, content: bytes) -> dict[str, str]:
    """The JSON of an object."""
    sums = checksum([content])
    return {"name": name, "size": str(len(content)), "timeCreated": "2026-01-02T03:04:05.678Z", **sums}


def _ranged(content: bytes, wanted: str) -> tuple[int, dict[str, str], bytes]:
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    start = int(first) if first else max(0, len(content) - int(last))
    part = content[start : int(last) + 1 if first and last else None]
    if not part:
        return _error(416, "The requested range cannot be satisfied.")
    return 206, {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(content)}"}, part


def _json(answer: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


def _error(status: int, message: str, reason: str = "") -> tuple[int, dict[str, str], bytes]:
    error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
    return status, {"Content-Type": "application/json"}, json.dumps({"error": error}).encode()
