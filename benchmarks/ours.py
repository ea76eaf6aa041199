"""studio_cas itself, four ways: by the command line and by the Python API, with codecs and with `compression: off`.

The command line is measured whole, interpreter start included. The API is measured inside a fresh process, from before
the first import of studio_cas to the end of the call.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import HERE, remove
from measure import Run, TreeMemory, run, size_of
from tools import Tool

if TYPE_CHECKING:
    from harness import Bench

ARTIFACT = "bench/data"


class Studio(Tool):
    """Everything of ours lies in `repo`: it is the home folder, and the default store is in it."""

    program = "studio"

    def __init__(self, bench: Bench, *, api: bool = False, compression: bool = True) -> None:
        super().__init__(bench)
        self.api, self.compression = api, compression
        self.name = ("api" if api else "studio") + ("" if compression else "-off")
        self.note = ", ".join(["time inside the process"] * api + ["compression: off"] * (not compression))
        self.said: dict[str, Any] = {}
        """What the last command reported of itself."""
        self.memory: TreeMemory | None = None
        """Set it to sample the memory of all processes of the next command."""

    def init(self, repo: Path) -> None:
        """Make the home folder; the store is made by the first capture, and that is measured."""
        repo.mkdir(parents=True)

    def command(self, *command: str | Path) -> list[str | Path]:
        """Return a `studio` command as it is run: the program beside this Python."""
        program = Path(sys.executable).parent / "studio"
        return [program if program.exists() else "studio", *command]

    def environment(self, repo: Path) -> dict[str, str]:
        """Return the environment in which `repo` is our home folder."""
        return {**self.bench.env, "STUDIOML_HOME": str(repo)}

    def _run(self, repo: Path, command: list[str | Path]) -> Run:
        done = run(command, env=self.environment(repo), cwd=repo, tree=self.memory)
        self.said = json.loads(done.output)
        return Run(self.said["seconds"], done.cpu, done.peak, done.output) if self.api else done

    def capture_command(self, source: Path) -> list[str | Path]:
        """Return the command that captures a folder."""
        if self.api:
            return [sys.executable, HERE / "api_driver.py", "capture", source, "on" if self.compression else "off"]
        command = self.command("push", source, ARTIFACT, "--json")
        return command if self.compression else [*command, "--no-compression"]

    def pull_command(self, target: Path) -> list[str | Path]:
        """Return the command that pulls the latest version."""
        if self.api:
            return [sys.executable, HERE / "api_driver.py", "pull", target]
        return self.command("pull", ARTIFACT, target, "--json")

    def capture(self, repo: Path, source: Path) -> Run:
        """Capture the folder as the next version."""
        return self._run(repo, self.capture_command(source))

    def pull(self, repo: Path, source: Path, target: Path) -> Run:
        """Pull the latest version."""
        del source
        return self._run(repo, self.pull_command(target))

    def stored(self, repo: Path) -> tuple[int, int]:
        """Count what is in the store, without the caches beside it."""
        return size_of(repo / "store")

    def packs(self, repo: Path) -> int:
        """Return the number of data packs."""
        return size_of(repo / "store" / "packs")[1]

    def forget_caches(self, repo: Path) -> None:
        """Drop catalog and states, as if another machine pulled."""
        remove(repo / "cache")


def chosen_ours(bench: Bench, names: tuple[str, ...] = ("studio", "api", "studio-off", "api-off")) -> list[Studio]:
    """Return the ways to use studio_cas that were asked for, of those that the benchmark wants."""
    asked = names if bench.args.ours == "all" else bench.args.ours.split(",")
    ways = [Studio(bench, api=api, compression=compression) for compression in (True, False) for api in (False, True)]
    if not ways[0].version():
        bench.report.note("studio_cas is not installed here, or `studio --version` fails")
        return []
    return [way for way in ways if way.name in names and way.name in asked]
