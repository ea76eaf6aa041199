"""A real server that speaks Azure's blob service, Azurite, as a process for the time of the tests.

Azurite is a program for Node.js. npm installs it into a folder of its own, once for all workers of a test run and for
later runs; nothing else of the machine is touched.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from studio_cas.testing.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION: Final = "3.35.0"
_UNUSED: Final = ("applicationinsights", "mysql2", "tedious")  # telemetry, and drivers of databases
_INSTALL_SECONDS: Final = 120.0
_REFUSED_SECONDS: Final = 600.0
_ACCOUNT: Final = "studiotesting"
_KEY: Final = base64.b64encode(b"canary of the key of the account").decode()


class NotHereError(Exception):
    """Why there is no emulator on this machine; for a test that is skipped."""


@dataclass(frozen=True, slots=True)
class AzureEmulator:
    """A running emulator: the address of its account, the account and its key, and the id of its process."""

    endpoint: str
    pid: int
    account: str = _ACCOUNT
    key: str = field(default=_KEY, repr=False)

    def new_bucket(self) -> str:
        """The name of a container that does not exist yet."""
        return f"bucket-{secrets.token_hex(8)}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find it, and to find no other."""
        parts = {"AccountName": self.account, "AccountKey": self.key, "BlobEndpoint": self.endpoint}
        return {"AZURE_STORAGE_CONNECTION_STRING": ";".join(f"{name}={value}" for name, value in parts.items())}


@contextmanager
def azure_emulator() -> Iterator[AzureEmulator]:
    """Run an emulator that keeps everything in memory, on a free port of 127.0.0.1, until the block ends.

    It verifies signatures and the rights of SAS tokens. It dies with this process, however that ends. Raises
    NotHereError.
    """
    script = program()

    def command(port: int) -> list[str]:
        options = ["--inMemoryPersistence", "--disableTelemetry", "--silent", "--blobHost", "127.0.0.1"]
        node = shutil.which("node") or ""
        return [
            *("env", f"AZURITE_ACCOUNTS={_ACCOUNT}:{_KEY}"),
            *(node, str(script), *options, "--skipApiVersionCheck", "--blobPort", str(port)),
        ]

    with serving(command, f"/{_ACCOUNT}?comp=list", refusals=True) as (endpoint, pid):
        yield AzureEmulator(f"{endpoint}/{_ACCOUNT}", pid)


@cache
def program() -> Path:
    """Azurite's blob service, installed where it is not. Raises NotHereError with the reason."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise NotHereError("Azurite needs Node.js and npm, which are not installed")
    folder = _folder()
    script = folder / "node_modules/azurite/dist/src/blob/main.js"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "installed").exists():
            _install_once(npm, folder)
    return script


def _folder() -> Path:
    """Where it is installed: a cache, outside of the home that tests may replace."""
    root = Path(os.environ.get("STUDIO_TEST_CACHE") or Path(tempfile.gettempdir()) / f"studio-testing-{os.getuid()}")
    folder = root / f"azurite-{VERSION}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if root.stat().st_uid != os.getuid():
        raise NotHereError(f"{root} belongs to somebody else")
    return folder


def _install_once(npm: str, folder: Path) -> None:
    """Install it; where that failed a moment ago, in another worker of the same run, it is not tried again."""
    refused = folder / "refused"
    if refused.exists() and time.time() - refused.stat().st_mtime < _REFUSED_SECONDS:
        raise NotHereError(refused.read_text())
    try:
        _install(npm, folder)
    except NotHereError as reason:
        refused.write_text(str(reason))
        raise
    (folder / "installed").touch()


def _install(npm: str, folder: Path) -> None:
    """Without what a server in memory does not use: a third of the size, and of the time."""
    (folder / "none").mkdir(exist_ok=True)
    (folder / "none" / "package.json").write_text(json.dumps({"name": "none", "version": "1.0.0"}))
    (folder / "none" / "index.js").write_text("module.exports = {};\n")
    wanted = {"private": True, "dependencies": {"azurite": VERSION}, "overrides": dict.fromkeys(_UNUSED, "file:./none")}
    (folder / "package.json").write_text(json.dumps(wanted))
    options = [
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--omit=dev",
        "--omit=optional",
        "--fetch-retries=1",
    ]
    command = [npm, "install", "--prefix", str(folder), *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)  # noqa: S603 - npm
    except subprocess.TimeoutExpired:
        raise NotHereError(f"npm did not install azurite within {_INSTALL_SECONDS:g} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise NotHereError(f"npm can not install azurite: {last}")
