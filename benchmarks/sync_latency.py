"""From close(2) to a version that everybody sees; and how long a script waits that asks for one."""

import os
import sys
import time
from pathlib import Path

from daemons import syncing, versions, wait_for
from harness import KIB, Bench
from ours import Studio, chosen_ours

WAITS = 3.0
"""Seconds: a change is captured two seconds after it has settled."""
COMMIT = """
import json, sys, time
from studio import fs_tracker
for number in range(int(sys.argv[2])):
    open(sys.argv[1] + "/asked", "w").write(str(number))
    began = time.perf_counter()
    fs_tracker.commit("data")
    print(time.perf_counter() - began)
"""


def closed_to_version(bench: Bench, repo: Path, folder: Path) -> list[float]:
    """Write a file, close it, and wait for the version, over and over."""
    took = []
    for number in range(bench.amount):
        before = versions(repo)
        with (folder / f"checkpoint-{number}").open("wb") as file:
            file.write(os.urandom(64 * KIB))
        began = time.monotonic()
        took.append(wait_for(lambda before=before: versions(repo) > before) - began)  # type: ignore[misc]
    return took


def asked_to_version(bench: Bench, tool: Studio, repo: Path, folder: Path) -> list[float]:
    """Ask for a version after each change, as a script does."""
    from measure import run

    mapping = {"STUDIOML_EXPERIMENT": "bench", "STUDIOML_ARTIFACT_MAPPING": f'{{"data": "{folder}"}}'}
    command = [sys.executable, "-c", COMMIT, folder, str(bench.amount)]
    return [float(line) for line in run(command, env={**tool.environment(repo), **mapping}).output.split()]


def main() -> None:
    """Measure both on a small folder and on one of 20,000 files."""
    with Bench("latency of the sync daemon", full=10, quick=2, unit="changes") as bench:
        for tool in chosen_ours(bench, ("studio",)):
            for files in (10, 20_000):
                folder, repo = bench.generate("small", bench.place("folder"), files), bench.place("home")
                tool.init(repo)
                with syncing(tool, repo, folder):
                    waited = bench.row(
                        f"{files} files", "close(2) to a version", closed_to_version(bench, repo, folder)
                    )
                    bench.row(f"{files} files", "fs_tracker.commit", asked_to_version(bench, tool, repo, folder))
                bench.report.bar(f"{files} files: close(2) to a version", waited.median, WAITS, " s")


if __name__ == "__main__":
    main()
