"""What a benchmark asks of a tool, ours or a peer: make a store, capture a folder, pull it back."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from measure import CommandError, Run, run, size_of

if TYPE_CHECKING:
    from harness import Bench


class Tool(ABC):
    """One tool with its defaults. A repo is an empty folder that is the tool's own."""

    name: str
    program: str
    version_arguments: tuple[str, ...] = ("--version",)
    note = ""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def run(self, *command: str | Path, cwd: Path | None = None) -> Run:
        """Run a command in the environment of the benchmark."""
        return run(command, env=self.bench.env, cwd=cwd)

    def version(self) -> str | None:
        """Return the version, None where the tool is not installed."""
        program = shutil.which(self.program, path=self.bench.env["PATH"])
        if not program:
            return None
        if (beside := Path(f"{program}.version")).exists():
            return beside.read_text().strip()
        try:
            said = self.run(self.program, *self.version_arguments).output.split()
        except CommandError:
            return "unknown"
        return next((word.lstrip("v") for word in said if word.lstrip("v")[:1].isdigit()), "unknown")

    @abstractmethod
    def init(self, repo: Path) -> None:
        """Make the store; not measured."""

    @abstractmethod
    def capture(self, repo: Path, source: Path) -> Run:
        """Capture a folder."""

    @abstractmethod
    def pull(self, repo: Path, source: Path, target: Path) -> Run:
        """Write the latest capture of `source` to `target`, which does not exist."""

    def pulled(self, source: Path, target: Path) -> Path:
        """Return where `pull` put the content of the source."""
        del source
        return target

    def stored(self, repo: Path) -> tuple[int, int]:
        """Return (bytes, objects) of the store, without caches."""
        return size_of(repo)

    def forget_caches(self, repo: Path) -> None:  # noqa: B027 - most tools have nothing to forget
        """Make the next pull that of another machine: drop what is cached outside the store, where that matters."""
