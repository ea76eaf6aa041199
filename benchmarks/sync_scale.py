"""A sync daemon of 200 folders in a minute without a change; and one of 1,000,000 files in a cycle without one."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from daemons import cpu_of, syncing, wait_for
from harness import Bench, remove
from measure import run
from ours import Studio, chosen_ours

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDERS = 200
FILES = 20
MINUTE = 60.0
SHARE = 5.0
"""Percent of one core: more rest than that leaves, a daemon takes after each look."""
CALM = 10.0
"""Seconds after the first versions: what belongs to them is done."""
CYCLE = 5.0
"""Seconds of processor time that a cycle of a million files may take where nothing changed."""
COMMIT = """
import sys
from pathlib import Path
from studio_cas.sync import barrier
print(barrier.commit(Path(sys.argv[1]), Path(sys.argv[2]), "bench", "data", 600))
"""


def memory_of(pid: int) -> int:
    """Return the resident bytes of a process that are its own."""
    text = Path(f"/proc/{pid}/status").read_text()
    return sum(int(size) * 1024 for size in re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+)", text, re.MULTILINE))


def pairs(folders: list[Path]) -> Iterator[str | Path]:
    """Yield what `studio sync` wants to hear of all folders but the first."""
    for number, folder in enumerate(folders[1:]):
        yield folder
        yield f"bench/part-{number}"


def many_folders(bench: Bench, tool: Studio) -> None:
    """200 folders, all captured; then a minute in which nothing changes."""
    base, repo = bench.place("folders"), bench.place("home")
    folders = [base / f"{number:03}" for number in range(FOLDERS)]
    for folder in folders:
        folder.mkdir(parents=True)
        for number in range(FILES):
            (folder / f"{number}.txt").write_text(f"{folder.name} {number}\n" * 50)
    tool.init(repo)
    with syncing(tool, repo, folders[0], *pairs(folders)) as daemon:
        wait_for(lambda: len(list((repo / "store/versions/bench").iterdir())) == FOLDERS)
        time.sleep(CALM)
        before, objects = cpu_of(daemon), tool.stored(repo)
        time.sleep(MINUTE)
        taken, memory = cpu_of(daemon) - before, memory_of(daemon)
        written = tool.stored(repo)[1] - objects[1]
    note = f"{written} objects written"
    bench.row(
        "a minute without a change", f"{FOLDERS} folders of {FILES} files", [MINUTE], cpu=taken, peak=memory, note=note
    )
    bench.report.bar(f"{FOLDERS} folders: processor time of a minute", taken / MINUTE * 100, SHARE, " %")
    bench.report.bar(f"{FOLDERS} folders: objects written", written, 0)
    remove(base)
    remove(repo)


def many_files(bench: Bench, tool: Studio) -> None:
    """A million files, captured; then cycles that somebody asks for, in which nothing has changed."""
    folder, repo = bench.generate("small", bench.place("folder"), bench.amount), bench.place("home")
    tool.init(repo)
    with syncing(tool, repo, folder, "--interval", "1h") as daemon:
        time.sleep(CALM)
        objects = tool.stored(repo)
        seconds, cpu = [], []
        for _ in range(bench.rounds):
            before = cpu_of(daemon)
            seconds.append(commit(tool, repo, folder))
            cpu.append(cpu_of(daemon) - before)
        written, memory = tool.stored(repo)[1] - objects[1], memory_of(daemon)
    note = f"{written} objects written"
    bench.row("a cycle without a change", f"{bench.amount:,} files", seconds, cpu=median(cpu), peak=memory, note=note)
    bench.report.bar("processor time of a cycle without a change", median(cpu), CYCLE, " s")
    bench.report.bar("a cycle without a change: objects written", written, 0)
    remove(folder)
    remove(repo)


def commit(tool: Studio, repo: Path, folder: Path) -> float:
    """Ask the daemon for a version; return the seconds that took."""
    return run([sys.executable, "-c", COMMIT, repo, folder], env=tool.environment(repo)).seconds


def main() -> None:
    """Measure both."""
    with Bench("a sync daemon of much that does not change", full=1_000_000, quick=20_000, unit="files") as bench:
        for tool in chosen_ours(bench, ("studio",)):
            many_folders(bench, tool)
            many_files(bench, tool)


if __name__ == "__main__":
    main()
