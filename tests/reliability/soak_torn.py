"""Writers beside a sync daemon: `python tests/reliability/soak_torn.py --seconds 300`, and no version has a torn file.

Every kind of writer works on a small and on a large file of its own: in place with a pause in the middle, truncate and
rewrite, rename into place, shrink and grow, vanish and come; logs grow; and SQLite databases are open all the time, one
for each way to keep a journal. The daemon looks every second and at every event. In each version each file must be of
one generation, a log the beginning of what it is in the end, a database whole and no older than in the version before;
and the last version is what the folder holds.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.reliability.daemons import Machine, wait_until
from tests.reliability.databases import connect, last_step, step
from tests.reliability.writers import WRITERS, generation, whole, writing

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = {"small": 2, "large": 700}
DATABASES = ("wal", "delete", "truncate", "persist")
LOGS = ("train.log", "metrics.jsonl", "events.out.tfevents.1", "output")


def soak(base: Path, seconds: float, seed: int = 0) -> tuple[int, Counter[str]]:
    """Write for so long beside a daemon. The number of versions, and of different states of files by kind of writer.

    Raises AssertionError where one is torn.
    """
    source = random.Random(seed)
    work = base / "work"
    work.mkdir()
    files = {work / f"{writer.__name__}-{size}": writer for writer in WRITERS for size in SIZES}
    for path in files:
        path.write_bytes(generation(0, SIZES[path.name.rpartition("-")[2]]))
    machine = Machine(base)
    try:
        daemon = machine.start(work, "exp/w", "--interval", "1s")
        with ExitStack() as stack:
            for path, writer in files.items():
                stack.enter_context(writing(_work(writer, path, source.random())))
            for mode in DATABASES:
                stack.enter_context(writing(_transactions(work / f"{mode}.db", mode, source.random())))
            for name in LOGS:
                log = stack.enter_context((work / name).open("ab", buffering=0))
                stack.enter_context(
                    writing(lambda number, log=log: (log.write(generation(number, 3)), time.sleep(0.1)))
                )
            time.sleep(seconds)
        wait_until(lambda: not machine.status()[0]["stale"])
        daemon.terminate()
        assert daemon.wait(90) == 0, machine.log()
        return check(machine, work)
    finally:
        machine.close()


def _work(writer: Callable[..., None], path: Path, seed: float) -> Callable[[int], None]:
    source = random.Random(seed)
    blocks = SIZES[path.name.rpartition("-")[2]]

    def write(number: int) -> None:
        writer(path, blocks, number, source.choice([0.0, 0.01, 0.1, 0.4]))
        time.sleep(source.choice([0.0, 0.02, 0.5]))

    return write


def _transactions(path: Path, mode: str, seed: float) -> Callable[[int], None]:
    """Transactions after pauses, now and then one that is not ended at once, and now and then a new connection."""
    source = random.Random(seed)
    opened: list[sqlite3.Connection] = []

    def write(number: int) -> None:
        if not opened:
            opened.append(connect(path, mode))
            opened[0].execute("PRAGMA cache_size = 5")
        step(opened[0], number, pause=source.choice([0.0, 0.0, 0.3]))
        if number % 7 == 0:
            opened[0].execute("BEGIN IMMEDIATE")
            opened[0].execute("DELETE FROM steps")
            time.sleep(source.choice([0.1, 1.0]))
            opened[0].execute("ROLLBACK")
        if number % 6 == 0:
            opened.pop().close()
        time.sleep(source.choice([0.0, 0.05, 0.5, 2.0]))

    write.close = lambda: [one.close() for one in opened]  # type: ignore[attr-defined]
    return write


def check(machine: Machine, work: Path) -> tuple[int, Counter[str]]:
    """Every file of every version."""
    logs = {name: (work / name).read_bytes() for name in LOGS}
    left = {path.name: path.read_bytes() for path in work.iterdir() if not path.name.endswith("-journal")}
    assert machine.content("exp/w") == left
    states: Counter[str] = Counter()
    seen: set[tuple[str, int]] = set()
    steps: dict[str, int] = {}
    versions = machine.number("exp/w")
    for number, files in zip(range(versions, 0, -1), machine.contents("exp/w"), strict=True):
        for name, data in files.items():
            base = name.partition(".db")[0]
            if base in DATABASES:
                data = b"".join(files.get(base + end, b"") for end in (".db", ".db-wal", ".db-journal"))  # noqa: PLW2901
            if (base, hash(data)) in seen:
                continue
            seen.add((base, hash(data)))
            states[name.rpartition("-")[0] or base] += 1
            if name in logs:
                assert logs[name].startswith(data), f"{name} of version {number} is not its own beginning"
            elif base in DATABASES:
                found = last_step(files, f"{base}.db", machine.base / "checked")
                assert found <= steps.get(base, found), f"{name} of version {number} is the newer one"
                steps[base] = found
            else:
                assert whole(data), f"{name} of version {number} is torn"
    return versions, states


def main() -> int:
    """Run the soak, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="soak-"))
    print(f"--seed {options.seed}, in {base}", flush=True)
    versions, states = soak(base, options.seconds, options.seed)
    print(f"{options.seconds:g} seconds: {versions} versions, none with a torn file; states of files, by writer:")
    for kind, count in sorted(states.items()):
        print(f"  {kind}: {count}")
    shutil.rmtree(base)
    return 0


if __name__ == "__main__":
    sys.exit(main())
