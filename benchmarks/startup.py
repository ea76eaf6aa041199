"""Start-up: `studio --help`, its neighbours, and importing the package, beside the interpreter alone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from harness import Bench, CommandError
from measure import run
from ours import Studio

if TYPE_CHECKING:
    from pathlib import Path


def main() -> None:
    """Measure each command ten times a round."""
    with Bench("start-up of the command line", full=10, quick=3, unit="starts a round") as bench:
        studio = Studio(bench)
        commands: dict[str, list[str | Path]] = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "import studio_cas": [sys.executable, "-c", "import studio_cas"],
            "from studio import fs_tracker": [sys.executable, "-c", "from studio import fs_tracker"],
            "studio --version": studio.command("--version"),
            "studio --help": studio.command("--help"),
            "studio push --help": studio.command("push", "--help"),
            "studio run --help": studio.command("run", "--help"),
        }
        for name, command in commands.items():
            try:
                run(command, env=bench.env)
                done = [run(command, env=bench.env) for _ in range(bench.rounds * bench.amount)]
            except CommandError as error:
                bench.failed(name, error)
                continue
            row = bench.row("start-up", name, [one.seconds for one in done], peak=max(one.peak for one in done))
            if name == "studio --help":
                bench.report.bar(name, row.median * 1000, 200, " ms")


if __name__ == "__main__":
    main()
