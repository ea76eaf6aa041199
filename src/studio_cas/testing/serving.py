"""A server as a process of its own, on a free port of 127.0.0.1, for as long as a block runs."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_READY_SECONDS: Final = 60.0
_ATTEMPTS: Final = 3  # another process may take the free port first
_PR_SET_PDEATHSIG: Final = 1


@contextmanager
def serving(
    command: Callable[[int], Sequence[str]], health: str, wanted: int | None = None, *, refusals: bool = False
) -> Iterator[tuple[str, int]]:
    """Run `command(port)` until the block ends; gives the server's address, and the id of its process.

    It is ready when it answers to the path `health`, with `refusals` also by refusing. It dies with this process,
    however that ends. `wanted` is the port of one that comes back to its old place.
    """
    server, endpoint = _started(command, health, wanted, refusals=refusals)
    try:
        yield endpoint, server.pid
    finally:
        server.kill()
        server.wait()


def _started(
    command: Callable[[int], Sequence[str]], health: str, wanted: int | None, *, refusals: bool
) -> tuple[subprocess.Popen[bytes], str]:
    """A server that answers, and its address."""
    words: Sequence[str] = ()
    for _ in range(_ATTEMPTS):
        port = wanted or _free_port()
        endpoint = f"http://127.0.0.1:{port}"
        words = command(port)
        server = subprocess.Popen(  # noqa: S603 - the program of an installed package
            words,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - it calls prctl only
        )
        if _answers(server, f"{endpoint}{health}", refusals=refusals):
            return server, endpoint
        server.kill()
        server.wait()
    raise RuntimeError(f"{words[0]} does not start")


def _answers(server: subprocess.Popen[bytes], address: str, *, refusals: bool) -> bool:
    """Wait until the server answers; False when it ends instead, or is too slow."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            opener.open(address, timeout=1.0).close()
        except (urllib.error.URLError, OSError) as error:
            if refusals and isinstance(error, urllib.error.HTTPError):
                error.close()
                return True
            time.sleep(0.02)
        else:
            return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_libc = ctypes.CDLL(None) if os.name == "posix" else None  # loaded here: after a fork it is too late


def _die_with_parent() -> None:
    """Between fork and exec: ask the kernel to kill this process when the thread that made it ends."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
