"""A small cloud that misbehaves on demand: it loses answers, cuts them short, hangs, and refuses.

One bucket, in memory, in threads of this process; `faulty_gcs` and `faulty_s3` speak for it, and `faulty_process` runs
it as a process of its own. A fault is armed for requests of one method, and used up in order; or planned for a request
by its number, whatever its method.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeVar

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    Answer = tuple[int, dict[str, str], bytes]

BUCKET: Final = "faulty-bucket"
PIECES: Final = 4
Kind = Literal["refuse", "drop", "lose", "reset", "hang", "short", "less", "damage", "flip", "slow"]
_LONGEST_HANG: Final = 60.0
_NOT_DONE: Final = frozenset({"drop", "hang"})
_UPLOADS: Final = frozenset({"POST", "PUT"})
_UNANSWERED: Final = frozenset({"drop", "lose", "reset", "hang"})


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request of `method`.

    refuse: answered with `status`, `message`, `reason`, `headers`, and nothing done. drop: not done, and the connection
    reset. lose, reset: done, and the connection closed, or reset, without an answer. hang: not done, and never
    answered. short: half the body, then the connection is closed. less: half the body, well-formed. damage: of what is
    uploaded one bit is flipped on its way. flip: the same of what is answered. slow: the body comes in PIECES, with
    `pause` seconds before each.
    """

    method: str
    kind: Kind = "refuse"
    status: int = 503
    message: str = "try again"
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0


class FaultyService(ABC):
    """What the server holds: `objects`, armed `faults`, (method, path) of all `requests`, `heard`: the last headers.

    `create_only`: its credentials may create, read and list; whatever would delete or overwrite is refused with 403.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """As new: an empty bucket, nothing armed."""
        self.objects: dict[str, bytes] = {}
        self.faults: deque[Fault] = deque()
        self.requests: list[tuple[str, str]] = []
        self.heard: dict[str, str] = {}
        self.bucket_exists = True
        self.ignores_preconditions = False
        self.create_only = False
        self.calm()

    def calm(self) -> None:
        """Nothing is armed or planned; requests count from 0 again. What hangs is let go."""
        with self.lock:
            self.faults.clear()
            self.planned: tuple[Fault, int, bool] | None = None
            self.seen = self.hit = 0
            hanging, self.hanging = getattr(self, "hanging", None), threading.Event()
        if hanging is not None:
            hanging.set()

    def plan(self, fault: Fault, at: int, *, forever: bool = False) -> None:
        """Let request number `at` (from 0, since `calm`) fail, with `forever` all after it as well.

        `hit` counts those that did. The fault's method does not matter.
        """
        with self.lock:
            self.planned = (fault, at, forever)

    def arm(self, *faults: Fault) -> None:
        """Add faults for the next requests of their methods."""
        self.faults.extend(faults)

    def next_fault(self, method: str) -> Fault | None:
        """What was planned for this request, or the first fault armed for `method`, which is used up."""
        with self.lock:
            number, self.seen = self.seen, self.seen + 1
            if self.planned is not None:
                fault, at, forever = self.planned
                if number == at or (forever and number > at):
                    self.hit += 1
                    return fault
            for fault in self.faults:
                if fault.method == method:
                    self.faults.remove(fault)
                    return fault
        return None

    def page(self, prefix: str, delimiter: str, after: str, most: int) -> tuple[list[str], list[str], str]:
        """What a listing answers: see `listed`."""
        return listed(self.objects, prefix, delimiter, after, most)

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


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body is sent after its headers: it would wait 40 ms until those are acknowledged
    state: ClassVar[FaultyService]

    def do_GET(self) -> None:
        """Answer."""
        self.serve()

    def do_HEAD(self) -> None:
        """Answer."""
        self.serve()

    def do_POST(self) -> None:
        """Answer."""
        self.serve()

    def do_PUT(self) -> None:
        """Answer."""
        self.serve()

    def do_DELETE(self) -> None:
        """Answer."""
        self.serve()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is given
        """Say nothing: faults are the point."""

    def serve(self) -> None:
        """Read a request, and answer it, or let it fail."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.state.requests.append((self.command, self.path))
        self.state.heard = {name.lower(): value for name, value in self.headers.items()}
        fault = self.state.next_fault(self.command)
        kind = fault.kind if fault else ""
        if kind == "hang":
            self.state.hanging.wait(_LONGEST_HANG)
        if fault and kind == "refuse":
            status, headers, content = self.state.refusal(fault.status, fault.message, fault.reason)
            return self._send(status, headers | fault.headers, content)
        if kind == "damage" and self.command in _UPLOADS:
            body = self.state.damaged(body)
        if kind not in _NOT_DONE:
            answer = self.state.answer(self.command, self.path, self.headers, body)
        if kind in _UNANSWERED:
            self.close_connection = True
            if kind in {"drop", "reset"}:  # whoever closes a socket with this option resets the connection
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return None
        return self._send(*answer, cut=kind, pause=fault.pause if fault and kind == "slow" else 0.0)

    def _send(self, status: int, headers: dict[str, str], content: bytes, cut: str = "", pause: float = 0.0) -> None:
        part = content[: len(content) // 2] if cut in {"short", "less"} else content
        if cut == "flip" and content:
            middle = len(content) // 2
            part = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        bodiless = status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
        if not bodiless and "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(content if cut == "short" else part)))
        self.end_headers()
        if self.command != "HEAD" and not bodiless:
            with suppress(OSError):
                self._write(part, pause)
        self.close_connection = cut == "short"

    def _write(self, content: bytes, pause: float) -> None:
        step = len(content) // PIECES + 1 if pause else len(content) or 1
        for start in range(0, len(content), step):
            if pause:
                self.state.hanging.wait(pause)
            self.wfile.write(content[start : start + step])


class _Server(ThreadingHTTPServer):
    """A server that says nothing of clients that go away."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of what is a mistake of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


@contextmanager
def serve(
    kind: type[Service], port: int = 0, base: type[Handler] = Handler, context: ssl.SSLContext | None = None
) -> Iterator[Service]:
    """Serve on `port` of 127.0.0.1, or on a free one, until the block ends; with `context`, TLS."""
    handler = type("Serving", (base,), {})
    server = _Server(("127.0.0.1", port), handler)
    if context:  # the handshake is left to the connection's own thread
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    state = kind(f"http{'s' if context else ''}://127.0.0.1:{server.server_address[1]}")
    handler.state = state  # type: ignore[attr-defined]  # of Handler
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        state.calm()
        server.shutdown()
        thread.join()
        server.server_close()


def listed(
    objects: dict[str, bytes], prefix: str, delimiter: str, after: str, most: int
) -> tuple[list[str], list[str], str]:
    """A page of names after `after`: objects, prefixes (names cut after the delimiter, each once), what goes on where.

    The last is the name after which the next page begins, "" where this is the last one.
    """
    found: dict[str, bool] = {}  # a name, and whether it is an object
    for name in sorted(name for name in objects if name.startswith(prefix)):
        rest, cut, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name[len(prefix) :], "", "")
        found.setdefault(f"{prefix}{rest}{cut}", not cut)
    names = [name for name in found if name > after]
    page = names[:most]
    whole = [name for name in page if found[name]]
    return whole, [name for name in page if not found[name]], page[-1] if len(names) > most else ""


def ranged(content: bytes, wanted: str) -> tuple[dict[str, str], bytes] | None:
    """The part that a `Range` header asks for, with its `Content-Range`; None where there is none of it."""
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    start = int(first) if first else max(0, len(content) - int(last))
    part = content[start : int(last) + 1 if first and last else None]
    return ({"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(content)}"}, part) if part else None
