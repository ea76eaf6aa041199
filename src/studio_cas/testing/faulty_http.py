"""A small cloud that misbehaves on demand: it loses answers, cuts them short, hangs, and refuses.

One bucket, in memory, in threads of this process; `faulty_gcs` and `faulty_s3` speak for it. A fault is armed for
requests of one method, and used up in order.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    Answer = tuple[int, dict[str, str], bytes]

BUCKET: Final = "faulty-bucket"
_LONGEST_HANG: Final = 60.0


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request of `method`.

    refuse: answered with `status`, `message`, `reason`, `headers`, and nothing done. lose: done, and the connection
    closed without an answer. hang: not done, and never answered. short: half the body, then the connection is closed.
    less: half the body, well-formed. damage: of what is uploaded one bit is flipped on its way.
    """

    method: str
    kind: Literal["refuse", "lose", "hang", "short", "less", "damage"] = "refuse"
    status: int = 503
    message: str = "try again"
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class FaultyService(ABC):
    """What the server holds: `objects`, armed `faults`, and the (method, path) of all `requests`.

    `create_only`: its credentials may create, read and list; whatever would delete or overwrite is refused with 403.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.reset()

    def reset(self) -> None:
        """As new: an empty bucket, nothing armed."""
        self.objects: dict[str, bytes] = {}
        self.faults: deque[Fault] = deque()
        self.requests: list[tuple[str, str]] = []
        self.bucket_exists = True
        self.ignores_preconditions = False
        self.create_only = False

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

    @abstractmethod
    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        """Status, headers and body for a request, when nothing goes wrong."""

    @abstractmethod
    def refusal(self, status: int, message: str, reason: str) -> Answer:
        """The same for a fault of that kind."""

    @abstractmethod
    def damaged(self, body: bytes) -> bytes:
        """The body of an upload with a bit of its content flipped."""


Service = TypeVar("Service", bound=FaultyService)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: ClassVar[FaultyService]

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
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
            status, headers, content = self.state.refusal(fault.status, fault.message, fault.reason)
            return self._send(status, headers | fault.headers, content)
        if kind == "damage":
            body = self.state.damaged(body)
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
        bodiless = status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
        if not bodiless and "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(content if cut == "short" else part)))
        self.end_headers()
        if self.command != "HEAD" and not bodiless:
            with suppress(OSError):
                self.wfile.write(part)
        self.close_connection = cut == "short"


@contextmanager
def serve(kind: type[Service]) -> Iterator[Service]:
    """Serve on a free port of 127.0.0.1 until the block ends."""

    class Handler(_Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = kind(f"http://127.0.0.1:{server.server_address[1]}")
    Handler.state = state
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        state.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def ranged(content: bytes, wanted: str) -> tuple[dict[str, str], bytes] | None:
    """The part that a `Range` header asks for, with its `Content-Range`; None where there is none of it."""
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    start = int(first) if first else max(0, len(content) - int(last))
    part = content[start : int(last) + 1 if first and last else None]
    return ({"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(content)}"}, part) if part else None
