"""The command line as a person meets it: a process of its own, with an empty home."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from studio_cas.backends.base import Backend
from studio_cas.backends.opening import open_backend
from studio_cas.store.store import Store, open_store
from studio_cas.testing.faulty_gcs import FaultyGcs
from studio_cas.testing.faulty_http import BUCKET, serve


@dataclass(frozen=True)
class Outcome:
    """What a call printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Terminal:
    """Calls `studio` in a folder, with an environment that has nothing of the person who runs the tests."""

    def __init__(self, folder: Path, prefix: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.prefix = prefix
        self.home = folder / "home"
        self.home.mkdir()
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("STUDIO", "GOOGLE", "STORAGE_", "AZURE_"))
        }
        self.environment = {**kept, "HOME": str(self.home), "COLUMNS": "100"}

    @property
    def store(self) -> Path:
        """The folder of the embedded local store."""
        return self.home / ".studioml" / "store"

    @property
    def address(self) -> str:
        """Where its store is: a folder, unless it was given a bucket."""
        return self.environment.get("STUDIOML_STORE", str(self.store))

    @cached_property
    def backend(self) -> Backend:
        """Its store, seen as objects."""
        return open_backend(self.address, endpoint=self.environment.get("STORAGE_EMULATOR_HOST"))

    def opened(self) -> Store:
        """Its store, opened beside the commands; close it."""
        backend = open_backend(self.address, endpoint=self.environment.get("STORAGE_EMULATOR_HOST"))
        return open_store(backend, home=self.home / ".studioml", create=False)

    def close(self) -> None:
        """Release what was opened."""
        if "backend" in self.__dict__:
            self.backend.close()

    def run(self, *arguments: str | os.PathLike[str], **environment: str) -> Outcome:
        """Call it, whatever comes of it."""
        finished = self.raw(*arguments, **environment)
        return Outcome(finished.returncode, os.fsdecode(finished.stdout), os.fsdecode(finished.stderr))

    def raw(self, *arguments: str | bytes | os.PathLike[str], **environment: str) -> subprocess.CompletedProcess[bytes]:
        """Call it; the output as bytes."""
        return subprocess.run(
            [*self.prefix, sys.executable, "-m", "studio_cas.cli.main", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=120,
        )

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """A call that goes on, in a process group of its own, as a shell would start it."""
        return subprocess.Popen(
            [*self.prefix, sys.executable, "-m", "studio_cas.cli.main", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            **options,
        )

    def ok(self, *arguments: str | os.PathLike[str], **environment: str) -> Outcome:
        """Call it, and expect success."""
        outcome = self.run(*arguments, **environment)
        assert outcome.code == 0, outcome
        return outcome

    def fails(self, code: int, *arguments: str | os.PathLike[str], **environment: str) -> Outcome:
        """Call it, and expect one sentence on stderr, no traceback, and that exit code."""
        outcome = self.run(*arguments, **environment)
        assert outcome.code == code, outcome
        assert outcome.err.startswith("studio: "), outcome
        assert outcome.err.count("\n") == 1, outcome
        assert "Traceback" not in outcome.err
        return outcome


@pytest.fixture
def terminal(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    """With `--least-privilege`, its store is in a bucket where it may delete and overwrite nothing."""
    with closing(Terminal(tmp_path)) as terminal:
        if not request.config.getoption("--least-privilege"):
            yield terminal
            return
        with serve(FaultyGcs) as bucket:
            bucket.create_only = True
            where = {"STORAGE_EMULATOR_HOST": bucket.endpoint, "STUDIOML_STORE": f"gs://{BUCKET}/studio"}
            terminal.environment |= where
            yield terminal
            terminal.close()


@pytest.fixture
def unprivileged(tmp_path: Path) -> Terminal:
    """A terminal of a person whom file permissions bind, even where the tests run as root."""
    if os.geteuid() != 0:
        return Terminal(tmp_path)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("the tests run as root, and setpriv, which drops its powers, is not installed")
    return Terminal(tmp_path, (setpriv, "--bounding-set", "-dac_override,-dac_read_search"))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder with a few files, of several kinds."""
    folder = tmp_path / "weights"
    (folder / "deep").mkdir(parents=True)
    (folder / "epoch-1.bin").write_bytes(bytes(range(256)) * 1000)
    (folder / "notes.txt").write_text("loss 0.5\n")
    (folder / "deep" / "config.json").write_text('{"lr": 0.1}\n')
    (folder / "latest").symlink_to("epoch-1.bin")
    return folder


@pytest.fixture
def bucket_of(request: pytest.FixtureRequest, terminal: Terminal) -> Callable[[str], str]:
    """Gives, for a scheme, the URL of a store in a bucket that is not there yet; `terminal` reaches its service."""

    def bucket_of(scheme: str) -> str:
        if scheme == "gs":
            service = request.getfixturevalue("gcs_emulator")
            terminal.environment["STORAGE_EMULATOR_HOST"] = service.endpoint
        else:
            service = request.getfixturevalue({"s3": "s3_server", "az": "azure_emulator"}[scheme])
            terminal.environment.update(service.environment)
        return f"{scheme}://{service.new_bucket()}/studio"

    return bucket_of
