"""The protocol between a daemon and those who ask it for something: a Unix socket, a line of JSON each way.

A request is an object with `ask`; every answer is an object: `progress` while it goes on, then one with `done`, or with
`error` (the kind of an error) and `sentence`. A daemon that dies closes the socket, and one that is dead refuses it, so
nobody waits for nothing; a script that dies is an answer that cannot be sent.

The path of a socket may have 107 bytes, the journal's may be longer: the folder is opened, and named by its descriptor.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import time
from typing import TYPE_CHECKING, Any

from studio_cas import errors
from studio_cas.errors import StudioError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

LINE_LIMIT = 1 << 20
FILES_LIMIT = 8  # descriptors that come with a request
CONNECT_SECONDS = 5.0


class DaemonGoneError(Exception):
    """There is no daemon behind the socket, or no longer."""


class NobodyThereError(DaemonGoneError):
    """Nobody listens behind the socket: the daemon is dead, or has not begun."""


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class Asker:
    """One who waits for an answer, seen from the daemon. Answers that nobody takes any more are dropped."""

    def __init__(self, connection: socket.socket, files: list[int]) -> None:
        self._connection = connection
        self._files = files

    def take_files(self) -> list[int]:
        """The descriptors that came with the request; they belong to the caller now."""
        files, self._files = self._files, []
        return files

    def answer(self, **row: Any) -> None:
        """Send one answer."""
        with contextlib.suppress(OSError):
            self._connection.sendall(json.dumps(row).encode() + b"\n")

    def refuse(self, error: StudioError) -> None:
        """Send an error, and hang up."""
        self.answer(error=error.kind, sentence=str(error))
        self.close()

    def close(self) -> None:
        """Hang up."""
        for file in self.take_files():
            os.close(file)
        self._connection.close()


class Door:
    """The daemon's end: takes requests whenever the selector says that there is something."""

    def __init__(self, path: Path, selector: selectors.BaseSelector) -> None:
        self._path = path
        self._selector = selector
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        beside = path.with_name(f".{path.name}")
        beside.unlink(missing_ok=True)
        with _short(beside) as short:
            self._socket.bind(short)
        self._socket.listen(64)
        beside.replace(path)  # whoever finds it is heard
        self._socket.settimeout(0)
        self._parts: dict[socket.socket, bytes] = {}
        self._files: dict[socket.socket, list[int]] = {}
        selector.register(self._socket, selectors.EVENT_READ, self)

    def ready(self, source: object) -> Iterator[tuple[Mapping[str, Any], Asker]]:
        """The requests that are complete, after the selector named `source`."""
        if source is self._socket:
            with contextlib.suppress(OSError):
                connection, _ = self._socket.accept()
                connection.settimeout(0)
                self._parts[connection], self._files[connection] = b"", []
                self._selector.register(connection, selectors.EVENT_READ, self)
        elif isinstance(source, socket.socket) and source in self._parts:
            request = self._receive(source)
            if request is not None:
                yield request, Asker(source, self._files.pop(source, []))

    def _receive(self, connection: socket.socket) -> Mapping[str, Any] | None:
        try:
            piece, files, _, _ = socket.recv_fds(connection, 65536, FILES_LIMIT)
            self._files[connection] += files
        except BlockingIOError:
            return None
        except OSError:
            piece = b""
        self._parts[connection] += piece
        line, end, _ = self._parts[connection].partition(b"\n")
        if piece and not end and len(line) < LINE_LIMIT:
            return None
        self._selector.unregister(connection)
        del self._parts[connection]
        try:
            request = json.loads(line)
        except ValueError:
            request = None
        if not end or not isinstance(request, dict):
            self._hang_up(connection)
            return None
        connection.settimeout(CONNECT_SECONDS)  # one who does not read his answers holds nobody up
        return request

    def _hang_up(self, connection: socket.socket) -> None:
        for file in self._files.pop(connection, []):
            os.close(file)
        connection.close()

    def close(self) -> None:
        """Take no more requests."""
        for connection in self._parts:
            self._selector.unregister(connection)
            self._hang_up(connection)
        self._parts = {}
        self._selector.unregister(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)


def ask(
    path: Path,
    request: Mapping[str, Any],
    *,
    timeout: float | None = None,
    progress: Callable[[Mapping[str, Any]], None] | None = None,
    files: Sequence[int] = (),
) -> Mapping[str, Any]:
    """Ask the daemon behind the socket `path`, and return its last answer. It gets copies of the descriptors `files`.

    Raises DaemonGoneError, TransientError (no answer in `timeout` seconds), and the error that the daemon answered.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    connection = _connect(path)
    with connection, connection.makefile("rb") as answers:
        try:
            line = json.dumps(dict(request)).encode() + b"\n"
            sent = socket.send_fds(connection, [line], files) if files else 0
            connection.sendall(line[sent:])
            while True:
                if deadline is not None:
                    connection.settimeout(max(0.001, deadline - time.monotonic()))
                line = answers.readline()
                if not line.endswith(b"\n"):
                    raise DaemonGoneError
                answer = json.loads(line)
                if "error" in answer:
                    raise error_of(answer["error"], answer["sentence"])
                if "done" in answer:
                    return dict(answer)
                if progress is not None:
                    progress(answer)
        except TimeoutError as error:
            raise TransientError(f"the sync daemon gave no answer within {timeout:g} s") from error
        except OSError as error:
            raise DaemonGoneError from error


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONNECT_SECONDS)
    try:
        with _short(path) as short:
            connection.connect(short)
    except OSError as error:
        connection.close()
        raise NobodyThereError from error
    connection.settimeout(None)
    return connection


def error_of(kind: str, sentence: str) -> StudioError:
    """The error of that kind, as another process told it."""
    classes = [StudioError]
    for one in classes:
        classes += one.__subclasses__()
    known = {one.kind: one for one in classes if one.__module__ == errors.__name__}
    return known.get(kind, StudioError)(sentence)
