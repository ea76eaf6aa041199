"""A bucket of Google Cloud Storage that costs almost no processor: idle_bucket.py PORT [CERTIFICATE_AND_KEY].

Every object is there and consists of zeros, 32 MiB of them, given by sendfile; what is uploaded is thrown away by the
kernel unread (MSG_TRUNC), and only its name is kept, so that nothing is created twice. So what a benchmark sees is the
client. With a certificate it speaks TLS as well, on the same port, and has to encrypt and decrypt as any server does.
`GET /_cpu` answers with the processor seconds that it took.
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
from contextlib import suppress

PACK = 32 * 1024 * 1024
RANGE = re.compile(rb"range: bytes=(\d*)-(\d*)", re.IGNORECASE)
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_BLOCK = 1 << 20
_zeros = memoryview(bytes(_BLOCK))
_scratch = bytearray(_BLOCK)
_names: set[str] = set()
_memory = os.memfd_create("zeros")
os.ftruncate(_memory, PACK)
os.pwrite(_memory, bytes(PACK), 0)


def main() -> None:
    """Serve until killed, with a thread for each connection."""
    context = None
    if len(sys.argv) == 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2])
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128) as listening:
        while True:
            connection, _ = listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=attend, args=(connection, context), daemon=True).start()


def attend(connection: socket.socket, context: ssl.SSLContext | None) -> None:
    """Answer the requests of a connection."""
    with suppress(OSError):
        if context and connection.recv(1, socket.MSG_PEEK) == b"\x16":
            connection = context.wrap_socket(connection, server_side=True)
        with connection:
            while head := more(connection, b"", 1):
                answer(connection, *head.split(b"\r\n\r\n", 1))


def more(connection: socket.socket, data: bytes, ends: int) -> bytes:
    """Read on until there are so many empty lines; nothing at the end."""
    while data.count(b"\r\n\r\n") < ends:
        piece = connection.recv(65536)
        if not piece:
            return b""
        data += piece
    return data


def answer(connection: socket.socket, head: bytes, rest: bytes) -> None:
    """Answer one request; `rest` has come of its body."""
    method, path = (word.decode() for word in head.split(b" ", 2)[:2])
    found = LENGTH.search(head)
    length = int(found[1]) if found else 0
    if method == "GET" and path.startswith("/download/"):
        give(connection, head)
    elif method == "POST" and path.startswith("/upload/"):
        take(connection, path.partition("?")[0], length, rest)
    elif path == "/_cpu":
        say(connection, "200 OK", time.process_time())
    else:
        throw_away(connection, length - len(rest))
        say(connection, "200 OK", {"items": []})


def say(connection: socket.socket, status: str, what: object) -> None:
    """Answer in JSON."""
    body = json.dumps(what).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)


def give(connection: socket.socket, head: bytes) -> None:
    """Send a range of the zeros."""
    begin, end = 0, PACK - 1
    if found := RANGE.search(head):
        begin, end = int(found[1]), min(int(found[2] or end), end)
    left = end - begin + 1
    said = f"HTTP/1.1 206 OK\r\nContent-Length: {left}\r\nContent-Range: bytes {begin}-{end}/{PACK}\r\n\r\n"
    connection.sendall(said.encode())
    while left:
        if isinstance(connection, ssl.SSLSocket):
            left -= connection.send(_zeros[:left])
        else:
            left -= os.sendfile(connection.fileno(), _memory, PACK - left, left)


def take(connection: socket.socket, bucket: str, length: int, rest: bytes) -> None:
    """Swallow an upload, and say how long its content was; its checksum is believed."""
    rest = more(connection, rest, 2)
    head, described, content = rest.split(b"\r\n\r\n", 2)
    about = json.loads(described.partition(b"\r\n")[0])
    name = f"{bucket}/{about['name']}"
    throw_away(connection, length - len(rest))
    if name in _names:
        say(connection, "412 Precondition Failed", {})
        return
    _names.add(name)
    tail = len(b"\r\n--") + len(head.partition(b"\r\n")[0]) - 2 + len(b"--\r\n")
    size = length - (len(rest) - len(content)) - tail
    say(connection, "200 OK", about | {"size": str(size), "generation": "1"})


def throw_away(connection: socket.socket, left: int) -> None:
    """Throw the rest of a body away."""
    flags = 0 if isinstance(connection, ssl.SSLSocket) else socket.MSG_TRUNC
    while left > 0:
        done = connection.recv_into(_scratch, min(left, _BLOCK), flags)
        if not done:
            raise OSError("the client is gone")
        left -= done


if __name__ == "__main__":
    main()
