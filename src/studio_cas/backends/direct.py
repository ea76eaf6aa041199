"""Large requests on connections of our own, sent and received by the thread that asks.

An event loop moves everything through one thread: each block of an answer is decrypted, parsed, copied and joined
there, while other cores wait. Here the kernel, or OpenSSL, writes into the buffer that the caller gets, and the lock of
the interpreter is free meanwhile: requests of several threads use as many cores. See docs/adr/0019. For small requests
the loop is as good, and saves a connection.
"""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from studio_cas.backends.upload import WATCHED, blocks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from studio_cas.ids import Buffer

LARGE: Final = 1 << 20
"""Bytes from which on a request is worth a connection of its own."""
_SLICE: Final = 1 << 20
_REFUSAL: Final = 1 << 20  # bytes of an answer that is none of the content
_IDLE_SECONDS: Final = 15.0  # after which a server may have closed a connection
_HASTY_SECONDS: Final = 1.0  # for each address of a host, before any is waited for
_BAD_STATUS: Final = 400


class UnreachableError(OSError):
    """No connection; the cause is the system's error."""


class HandshakeError(OSError):
    """The other side speaks no TLS, or shows a certificate that is not trusted."""


class CutOffError(OSError):
    """The answer has no end."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask for. `most` is the size of the content that is wanted, if any; of a larger one nothing is read.

    `trusted` says which certificates are, where it is not for the system to say.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: Sequence[Buffer] = ()
    most: int = 0
    trusted: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body; headers are found whatever their case."""

    status: int
    headers: http.client.HTTPMessage
    body: Buffer


@dataclass(slots=True)
class _Idle:
    """Connections that wait for the next request, with the time since when; the last one used comes first."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    kept: dict[str, list[tuple[float, http.client.HTTPConnection]]] = field(default_factory=dict)


class Direct:
    """Requests without a proxy.

    `connect` is the seconds that a connection may take, `patience` those without a sign of life after which a request
    is lost, `longest` those for all of it.
    """

    def __init__(self, connect: float, patience: float, longest: float) -> None:
        self._connect = connect
        self._patience = patience
        self._longest = longest
        self._idle = _Idle()

    def __del__(self) -> None:
        self.close()

    @cached_property
    def _trusted(self) -> ssl.SSLContext:
        """What the system trusts, as the sessions of the libraries do."""
        return ssl.create_default_context()

    def close(self) -> None:
        """Close what no request uses."""
        self._close_older(-1.0)

    def tidy(self) -> None:
        """Close what no request has used for a while, as the other side does."""
        self._close_older(_IDLE_SECONDS)

    def _close_older(self, seconds: float) -> None:
        now = time.monotonic()
        with self._idle.lock:
            for kept in self._idle.kept.values():
                while kept and now - kept[0][0] > seconds:
                    kept.pop(0)[1].close()

    def exchange(self, request: Request) -> Answer:
        """The answer, whatever its status.

        A GET is sent once more where a kept connection turns out to be closed; nothing else is. Raises OSError: the
        classes above, or TimeoutError.
        """
        url = urlsplit(request.url)
        connection = self._kept(_origin(url))
        try:
            if connection is not None:
                try:
                    return self._asked(connection, url, request)
                except (ConnectionError, ssl.SSLError, http.client.BadStatusLine):
                    if request.method != "GET":
                        raise
            return self._asked(self._connected(url, request.trusted), url, request)
        except http.client.HTTPException as error:  # no HTTP, or cut off in its headers
            raise ConnectionResetError(_told(error)) from error

    def _asked(self, connection: http.client.HTTPConnection, url: SplitResult, request: Request) -> Answer:
        """One attempt; the connection is kept where everything went well."""
        answered = False
        try:
            deadline = time.monotonic() + self._longest
            whole = self._send(connection, url, request, deadline)
            carrier = connection.sock  # http.client lets go of it where it is the last answer
            response = connection.getresponse()
            body = _body(response, carrier, request.most, deadline)
            answered = whole and body is not None and not response.will_close
        finally:
            if not answered:
                connection.close()
        if answered:
            self._keep(_origin(url), connection)
        return Answer(response.status, response.headers, b"" if body is None else body)

    def _send(
        self, connection: http.client.HTTPConnection, url: SplitResult, request: Request, deadline: float
    ) -> bool:
        """Send it; False where the server has answered, and takes no more of it."""
        target = url.path + (f"?{url.query}" if url.query else "")
        named = any(name.lower() == "host" for name in request.headers)
        try:
            connection.putrequest(request.method, target or "/", skip_host=named, skip_accept_encoding=True)
            for name, value in request.headers.items():
                connection.putheader(name, value)
        except ValueError:  # its text quotes the header, and that may be a token
            raise HandshakeError("a header of the request can not be sent") from None
        connection.endheaders()
        at_once = WATCHED if url.scheme == "https" else _SLICE  # TLS tells of a block when all of it got away
        try:
            for block in blocks(request.body):
                view = memoryview(block)
                while view:
                    _in_time(deadline)
                    view = view[connection.sock.send(view[:at_once]) :]
        except TimeoutError:
            raise
        except OSError:
            if not _readable(connection.sock):
                raise
            return False
        return True

    def _kept(self, origin: str) -> http.client.HTTPConnection | None:
        """A connection that is still open, as far as can be known."""
        while True:
            with self._idle.lock:
                kept = self._idle.kept.get(origin)
                if not kept:
                    return None
                since, connection = kept.pop()
            if time.monotonic() - since < _IDLE_SECONDS and not _readable(connection.sock):
                return connection
            connection.close()

    def _keep(self, origin: str, connection: http.client.HTTPConnection) -> None:
        with self._idle.lock:
            self._idle.kept.setdefault(origin, []).append((time.monotonic(), connection))

    def _connected(self, url: SplitResult, trusted: ssl.SSLContext | None) -> http.client.HTTPConnection:
        """A new connection."""
        host, secure = url.hostname or "", url.scheme == "https"
        port = url.port or (http.client.HTTPS_PORT if secure else http.client.HTTP_PORT)
        plain = self._socket(host, port)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.settimeout(self._patience)
            if not secure:
                connection = http.client.HTTPConnection(host, port)
                connection.sock = plain
                return connection
            context = trusted or self._trusted
            connection = http.client.HTTPSConnection(host, port, context=context)
            connection.sock = _shaken(context, plain, host)
        except BaseException:
            plain.close()
            raise
        return connection

    def _socket(self, host: str, port: int) -> socket.socket:
        """A socket that is connected to any of the host's addresses: first to one that answers soon."""
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise UnreachableError(error.errno, error.strerror) from error
        failed, late = OSError("no address"), False
        for seconds in dict.fromkeys((min(_HASTY_SECONDS, self._connect), self._connect)):
            for family, kind, protocol, _, address in addresses:
                found = socket.socket(family, kind, protocol)
                try:
                    found.settimeout(seconds)
                    found.connect(address)
                except OSError as error:
                    found.close()
                    failed, late = error, late or isinstance(error, TimeoutError)
                except BaseException:
                    found.close()
                    raise
                else:
                    return found
            if not late:
                break
        if isinstance(failed, TimeoutError):
            raise failed
        raise UnreachableError(failed.errno, failed.strerror) from failed


def proxied(url: str) -> bool:
    """Whether requests to `url` go through a proxy, as the environment says."""
    parts = urlsplit(url)
    proxies = getproxies()
    return (parts.scheme in proxies or "all" in proxies) and not proxy_bypass(parts.hostname or "")


def _origin(url: SplitResult) -> str:
    return f"{url.scheme}://{url.netloc}"


def _shaken(context: ssl.SSLContext, plain: socket.socket, host: str) -> socket.socket:
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except ssl.SSLEOFError as error:  # not that it can not, but that it is gone
        raise ConnectionResetError(str(error)) from error
    except ssl.SSLError as error:
        raise HandshakeError(str(error)) from error


def _body(response: http.client.HTTPResponse, connection: socket.socket, most: int, deadline: float) -> Buffer | None:
    """The content; None where it is larger than anybody has asked for."""
    size, refused = response.length, response.status >= _BAD_STATUS
    if size is None and not (response.chunked or most or refused):  # it may be that its headers were cut off
        raise CutOffError("the end is not known")
    if refused or size is None:
        content = response.read(_REFUSAL if refused else max(most, _REFUSAL))
        return content if response.isclosed() or not response.read(1) else None
    if size > max(most, _REFUSAL):
        return None
    return _filled(response, connection, size, deadline)


def _filled(response: http.client.HTTPResponse, connection: socket.socket, size: int, deadline: float) -> Buffer:
    """The next `size` bytes. Raises CutOffError."""
    import numpy as np

    if not size:
        return response.read()
    view = np.empty(size, np.uint8).data  # not zeroed first, which would take the interpreter's lock
    try:
        begun = response.read1(min(size, WATCHED))  # what came with the headers; the rest is read past http.client
        done, count = len(begun), len(begun)
        view[:done] = begun
        while done < size and count:
            _in_time(deadline)
            count = connection.recv_into(view[done : done + _SLICE], min(_SLICE, size - done))
            done += count
    except TimeoutError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise CutOffError(str(error)) from error
    if done < size:
        raise CutOffError("the connection was closed")
    response.close()
    return view


def _in_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError


def _readable(connection: socket.socket) -> bool:
    """Whether there is something to read: of a connection that nobody has asked anything, its end."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([connection], [], [], 0)[0])


def _told(error: Exception) -> str:
    """What http.client means; its texts quote what came."""
    return "the connection was closed" if isinstance(error, ConnectionError) else "it does not speak HTTP"
