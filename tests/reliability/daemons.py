"""Real sync daemons, as processes of their own, for the reliability tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio_cas.errors import StoreUnavailableError
from studio_cas.store.store import open_store
from studio_cas.store.versions import latest, list_versions
from studio_cas.sync.journal import ENDED
from studio_cas.sync.overview import overview
from studio_cas.worktree.listing import entries, read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from studio_cas.store.store import Store

PATIENCE = 90.0
"""Seconds after which a condition will never hold; the machine may be busy."""


def wait_until(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """What `condition` gives, once that is true."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come true in {PATIENCE:g} seconds")


class Machine:
    """A home, a store and daemons; `close` ends those that are left."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.home, self.store = base / "home", base / "store"
        self.prefix: tuple[str, ...] = ()  # of every command
        self.processes: list[subprocess.Popen[bytes]] = []
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("STUDIO", "GOOGLE"))}
        self.environment = {
            **kept,
            "HOME": str(base),
            "STUDIOML_HOME": str(self.home),
            "STUDIOML_STORE": str(self.store),
        }

    def command(self, *arguments: object) -> list[str]:
        return [*self.prefix, sys.executable, "-m", "studio_cas.cli.main", *map(str, arguments)]

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
        """A `studio sync` that goes on, and has held its pairs when this returns."""
        with (self.base / "daemon.log").open("ab") as log:
            at = log.tell()
            process = subprocess.Popen(
                self.command("sync", *arguments),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **options,
            )
        self.processes.append(process)
        wait_until(lambda: b"is kept as" in self.log()[at:] or process.poll() is not None, "a daemon that began")
        return process

    def log(self) -> bytes:
        """What the daemons said."""
        return (self.base / "daemon.log").read_bytes()

    def call(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """A command that ends."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    def status(self, *names: str) -> list[dict[str, Any]]:
        """What `studio sync status --json` says."""
        done = self.call("sync", "status", *names, "--json")
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def told(self, *names: str) -> list[dict[str, Any]]:
        """What daemons wrote of the pairs they keep, for looks that are taken over and over: no command is run."""
        found = overview(self.home)
        wanted = [kept for kept in found if (kept.name in names if names else kept.state != ENDED)]
        nothing = {"cycles": 0, "version": None, "watch": None, "trouble": None}
        return [{**nothing, **kept.status, "state": kept.state} for kept in wanted]

    def captured(self, name: str) -> int:
        """The number of the version that status shows of `exp/tag`, a moment after it is in the store; 0 for none."""
        found = self.told(name)
        return int(found[0]["version"]["number"]) if found and found[0]["version"] else 0

    def number(self, name: str) -> int:
        """The number of the latest version of `exp/tag`; 0 where there is none."""
        with self.reader() as store:
            found = latest(store, *name.split("/")) if store else None
        return found.number if found else 0

    @contextmanager
    def reader(self) -> Iterator[Store | None]:
        """The store, opened beside the daemons; None where there is none yet."""
        try:
            opened = open_store(self.store, home=self.base / "reader", create=False)
        except StoreUnavailableError:
            yield None
            return
        with opened as store:
            yield store

    def content(self, name: str) -> dict[str, bytes]:
        """The files of the latest version of `exp/tag`."""
        with closing(self.contents(name)) as contents:
            return next(contents, {})

    def contents(self, name: str) -> Generator[dict[str, bytes]]:
        """The files of every version of `exp/tag`, the newest first; one version at a time is held in memory."""
        with self.reader() as store:
            for version in list_versions(store, *name.split("/")) if store else ():
                yield {
                    os.fsdecode(entry.path): b"".join(read_file(store, version, entry.path))
                    for entry in entries(store, version)
                    if entry.kind == "file"
                }

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
