"""How much a script is slowed by `studio run`, whose daemon captures all along: one that computes, and one that writes.

The script itself says what it took, from its first statement to its last. On a machine that others use, give it and the
daemon the processors together, for their priorities beside each other matter, and a real-time class would hide them:
    mkdir /sys/fs/cgroup/cpu/quiet; echo 100000 > /sys/fs/cgroup/cpu/quiet/cpu.shares
    echo $$ > /sys/fs/cgroup/cpu/quiet/tasks; python benchmarks/sync_overhead.py
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from daemons import cpu_of
from harness import Bench, remove
from measure import run
from ours import Studio, chosen_ours

if TYPE_CHECKING:
    from collections.abc import Callable

PERCENT = 1.0
"""How much slower a script may be, in percent, in the median of its rounds."""
ROUNDS = 15
MEASURED = """
import json, resource, sys, time
began = time.perf_counter()
{text}
took = time.perf_counter() - began
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([took, used.ru_utime + used.ru_stime, int(open("/proc/self/schedstat").read().split()[1]) / 1e9]))
"""
COMPUTES = """
import hashlib
data = bytes(1 << 20)
for step in range(int(sys.argv[2])):
    for _ in range(40):
        data = hashlib.shake_128(data).digest(len(data))
    if step % 10 == 0:
        open(f"{sys.argv[1]}/checkpoint-{step % 40}", "wb").write(data)
    print(step, file=open(f"{sys.argv[1]}/train.log", "a"))
    print("step", step)
"""
WRITES = """
import os
block = os.urandom(1 << 16)
for step in range(int(sys.argv[2])):
    with open(f"{sys.argv[1]}/part-{step % 8}", "wb", buffering=0) as file:
        for _ in range(160):
            file.write(block)
        os.fsync(file.fileno())
    with open(f"{sys.argv[1]}/part-{step % 8}", "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass
    print("step", step)
"""
SCRIPTS = {"computes": (COMPUTES, 0.8), "reads and writes": (WRITES, 16.0)}
"""Their texts, and steps for a percent of the work, which takes about ten seconds."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a script said of itself, in seconds: time, processor time, time it waited for one; and its daemon's."""

    seconds: float
    cpu: float
    waited: float
    daemon: float = 0.0


class DaemonTime:
    """The processor time of the daemon of a home while the script goes on, looked at ten times a second."""

    def __init__(self, home: Path) -> None:
        self.seconds = 0.0
        self._home = os.fsencode(f"STUDIOML_HOME={home}")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        found = None
        while not self._stop.wait(0.1):
            found = found or self._find()
            if found is not None:
                with contextlib.suppress(OSError):
                    self.seconds = max(self.seconds, cpu_of(found))

    def _find(self) -> int | None:
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                named = b"studio_cas.experiment.attendant" in (folder / "cmdline").read_bytes()
                if named and self._home in (folder / "environ").read_bytes().split(b"\0"):
                    return int(folder.name)
        return None

    def end(self) -> float:
        """The seconds, of a daemon that has ended."""
        self._stop.set()
        self._thread.join()
        return self.seconds


def subject(bench: Bench, tool: Studio | None, text: str, steps: int) -> Callable[[], Told]:
    """Return a subject: the script, alone or under `studio run`."""
    script = bench.place("script").with_suffix(".py")
    script.write_text(MEASURED.format(text=text))

    def measure() -> Told:
        folder, home = bench.place("folder"), bench.place("home")
        folder.mkdir()
        words: list[str | Path] = [script, folder, str(steps)]
        if tool is None:
            done = run([sys.executable, *words], env=bench.env, cwd=bench.work / "home")
            told = Told(*json.loads(done.output.splitlines()[-1]))
        else:
            tool.init(home)
            daemon = DaemonTime(home)
            command = tool.command("run", "--quiet", "--no-workspace", "-c", f"{folder}:w", *words)
            done = run(command, env=tool.environment(home), cwd=bench.work / "home")
            told = Told(*json.loads(done.output.splitlines()[-1]), daemon.end())
        for path in (folder, home):
            remove(path)
        return told

    return measure


def slower(alone: list[float], beside: list[float]) -> float:
    """Return the percent by which what followed each other differs, in the median: other work comes and goes."""
    return (median(one / other for one, other in zip(beside, alone, strict=True)) - 1) * 100


def judge(bench: Bench, name: str, alone: list[Told], beside: list[Told]) -> None:
    """Add the rows of one script, and compare them."""
    for kind, rounds in (("alone", alone), ("studio run", beside)):
        taken = median(one.daemon for one in rounds)
        note = f"waited {median(one.waited for one in rounds):.2f} s for a processor"
        note += f"; its daemon took {taken:.2f} s of processor time" if taken else ""
        cpu = median(one.cpu for one in rounds)
        bench.row(f"a script that {name}", kind, [one.seconds for one in rounds], cpu=cpu, note=note)
    more = slower([one.cpu for one in alone], [one.cpu for one in beside])
    bench.report.note(f"a script that {name} took {more:+.2f} % processor time: what other work disturbs least")
    best = (min(one.seconds for one in beside) / min(one.seconds for one in alone) - 1) * 100
    bench.report.note(f"a script that {name}: the fastest round {best:+.2f} %")
    more = slower([one.seconds for one in alone], [one.seconds for one in beside])
    bench.report.bar(f"a script that {name}: slower", more, PERCENT, " %")


def main() -> None:
    """Run each script in turns alone and under `studio run`."""
    with Bench("a script under studio run", full=100, quick=2, unit="percent of the work") as bench:
        for tool in chosen_ours(bench, ("studio",)):
            for name, (text, steps) in SCRIPTS.items():
                amount = max(1, round(steps * bench.amount))
                subjects = [subject(bench, one, text, amount) for one in (None, tool)]
                done: list[list[Told]] = [[], []]
                for turn in range(1 if bench.args.quick else max(bench.rounds, ROUNDS)):
                    for which in (0, 1) if turn % 2 else (1, 0):
                        done[which].append(subjects[which]())
                judge(bench, name, *done)


if __name__ == "__main__":
    main()
