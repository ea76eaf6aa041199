"""A bucket of Google Cloud Storage that costs almost no processor: idle_bucket.py PORT [CERTIFICATE_AND_KEY].

Every object is there and consists of zeros, 32 MiB of them, given by sendfile; what is uploaded is thrown away by the
kernel unread (MSG_TRUNC). So what a benchmark sees is the client. With a certificate it speaks TLS, and has to encrypt
and decrypt as any server does. It prints its processor seconds for `GET /_cpu`.
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import sys
import threading
import time
from urllib.parse import unquote

PACK = 32 * 1024 * 1024
_RANGE = re.compile(rb"range: bytes=(\d*)-(\d*)", re.IGNORECASE)
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_BLOCK = 1 << 20
_zeros = bytes(_BLOCK)
_memory = os.memfd_create("zeros")
os.ftruncate(_memory, PACK)
os.pwrite(_memory, bytes(PACK), 0)


def main() -> None:
    """Serve until killed, with a thread for each connection."""
    context = None
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2])
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128) as listening:
        while True:
            connection, _ = listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_attend, args=(connection, context), daemon=True).start()


def _attend(connection: socket.socket, context: ssl.SSLContext | None) -> None:
    try:
        if context:
            connection = context.wrap_socket(connection, server_side=True)
        while _answer(connection):
            pass
    except OSError:
        pass
    finally:
        connection.close()


def _answer(connection: socket.socket) -> bool:
    """Answer one request; False at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return False
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    method, path = (word.decode() for word in head.split(b" ", 2)[:2])
    found = _LENGTH.search(head)
    length = int(found[1]) if found else 0
    if path == "/_cpu":
        _send(connection, "200 OK", json.dumps(time.process_time()).encode())
    elif method == "GET" and path.startswith("/download/"):
        _give(connection, head)
    elif method == "POST" and path.startswith("/upload/"):
        _swallow(connection, length, rest)
    else:
        _drop(connection, length - len(rest))
        name = unquote(path.rpartition("/o/")[2].partition("?")[0])
        about = {"name": name, "size": str(PACK), "timeCreated": "2026-01-01T00:00:00Z"}
        _send(connection, "200 OK", json.dumps(about).encode())
    return True


def _send(connection: socket.socket, status: str, body: bytes) -> None:
    connection.sendall(
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )


def _give(connection: socket.socket, head: bytes) -> None:
    """A range of the pack."""
    begin, end = 0, PACK - 1
    if found := _RANGE.search(head):
        begin = int(found[1])
        end = min(int(found[2] or end), end)
    size = end - begin + 1
    said = (
        f"HTTP/1.1 206 Partial Content\r\nContent-Length: {size}\r\nContent-Range: bytes {begin}-{end}/{PACK}\r\n\r\n"
    )
    connection.sendall(said.encode())
    while size:
        if isinstance(connection, ssl.SSLSocket):
            size -= connection.send(memoryview(_zeros)[: min(size, _BLOCK)])
        else:
            done = os.sendfile(connection.fileno(), _memory, begin, size)
            begin += done
            size -= done


def _swallow(connection: socket.socket, length: int, rest: bytes) -> None:
    """An upload: a create of a store's small object is told apart by nothing, so all succeed."""
    while rest.count(b"\r\n\r\n") < 2 and len(rest) < length:
        rest += connection.recv(65536)
    boundary = rest.partition(b"\r\n")[0]
    about, _, _ = rest.partition(b"\r\n\r\n")[2].partition(b"\r\n")
    begin = rest.index(b"\r\n\r\n", rest.index(about)) + 4
    content = length - begin - len(boundary) - 6
    _drop(connection, length - len(rest))
    name = json.loads(about)["name"]
    _send(connection, "200 OK", json.dumps({"name": name, "size": str(content), "generation": "1"}).encode())


def _drop(connection: socket.socket, size: int) -> None:
    if isinstance(connection, ssl.SSLSocket):
        into = bytearray(_BLOCK)
        while size > 0:
            size -= connection.recv_into(into, min(size, _BLOCK))
    while size > 0:
        size -= len(connection.recv(min(size, _BLOCK), socket.MSG_TRUNC)) if False else _truncate(connection, size)


def _truncate(connection: socket.socket, size: int) -> int:
    """Throw up to `size` bytes away that have come."""
    done = connection.recv_into(_scratch, min(size, _BLOCK), socket.MSG_TRUNC)
    if not done:
        raise OSError("the client is gone")
    return done


_scratch = bytearray(_BLOCK)


if __name__ == "__main__":
    main()
