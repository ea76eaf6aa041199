"""How much a script is slowed by a sync daemon beside it: one that computes, and one that writes all the time."""

from __future__ import annotations

import sys
from statistics import median
from typing import TYPE_CHECKING

from daemons import cpu_of, syncing
from harness import Bench
from measure import Run, run
from ours import Studio, chosen_ours

if TYPE_CHECKING:
    from collections.abc import Callable

PERCENT = 1.0
"""How much slower a script may be, in percent, in the median of its rounds."""
COMPUTES = """
import hashlib, sys
data = bytes(1 << 20)
for step in range(int(sys.argv[2])):
    for _ in range(40):
        data = hashlib.shake_128(data).digest(len(data))
    if step % 10 == 0:
        open(f"{sys.argv[1]}/checkpoint-{step % 40}", "wb").write(data)
    print(step, file=open(f"{sys.argv[1]}/train.log", "a"))
"""
WRITES = """
import os, sys
block = os.urandom(1 << 16)
for step in range(int(sys.argv[2])):
    with open(f"{sys.argv[1]}/part-{step % 8}", "wb", buffering=0) as file:
        for _ in range(160):
            file.write(block)
"""
SCRIPTS = {"computes": (COMPUTES, 40), "writes": (WRITES, 120)}


def beside(bench: Bench, tool: Studio, text: str, steps: int) -> Callable[[], tuple[Run, float]]:
    """Return a subject: the script beside a daemon; what it took, and the daemon's processor time meanwhile."""
    folder, repo = bench.place("folder"), bench.place("home")
    folder.mkdir()
    tool.init(repo)

    def subject() -> tuple[Run, float]:
        with syncing(tool, repo, folder) as daemon:
            before = cpu_of(daemon)
            done = run([sys.executable, "-c", text, folder, str(steps)], env=bench.env)
            return done, cpu_of(daemon) - before

    return subject


def alone(bench: Bench, text: str, steps: int) -> Callable[[], tuple[Run, float]]:
    """Return a subject: the script alone."""
    folder = bench.place("folder")
    folder.mkdir()
    return lambda: (run([sys.executable, "-c", text, folder, str(steps)], env=bench.env), 0.0)


def slower(alone: list[float], beside: list[float]) -> float:
    """Return by how many percent the median grew."""
    return (median(beside) / median(alone) - 1) * 100


def judge(bench: Bench, name: str, done: dict[str, list[tuple[Run, float]]]) -> None:
    """Add the rows of one script, and compare them."""
    wall = {subject: [each.seconds for each, _ in rounds] for subject, rounds in done.items()}
    cpu = {subject: [each.cpu for each, _ in rounds] for subject, rounds in done.items()}
    for subject, rounds in done.items():
        taken = median(taken for _, taken in rounds)
        note = f"the daemon took {taken:.2f} s of processor time" if taken else ""
        bench.row(f"a script that {name}", subject, wall[subject], cpu=median(cpu[subject]), note=note)
    more = slower(cpu["alone"], cpu["beside a daemon"])
    bench.report.note(f"a script that {name} took {more:+.2f} % processor time: what other work disturbs least")
    bench.report.bar(f"a script that {name}: slower", slower(wall["alone"], wall["beside a daemon"]), PERCENT, " %")


def main() -> None:
    """Run each script in turns with and without a daemon."""
    with Bench("a script beside a sync daemon", full=100, quick=10, unit="percent of the work") as bench:
        bench.rounds = max(bench.rounds, 5) if not bench.args.quick else 1
        for tool in chosen_ours(bench, ("studio",)):
            for name, (text, amount) in SCRIPTS.items():
                steps = amount * bench.amount // 10
                done = bench.interleaved(
                    {"alone": alone(bench, text, steps), "beside a daemon": beside(bench, tool, text, steps)}
                )
                judge(bench, name, done)


if __name__ == "__main__":
    main()
