"""What one cycle reads and writes for each kind of change to 200 MB, and to a log of 1 GiB; and a tarball a minute."""

# ruff: noqa: ARG001  # every kind of change is called alike

from __future__ import annotations

import os
import sqlite3
import tarfile
import time
from statistics import median
from typing import TYPE_CHECKING

from daemons import read_by, syncing, versions, wait_for
from harness import GIB, KIB, MIB, Bench, pretty, remove
from ours import Studio, chosen_ours

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PARTS = 20
MINUTES = 10
GROWN = 15
REST = 1.0
"""Seconds after which a daemon has done what belongs to a version."""


def fill(folder: Path, size: int) -> Path:
    """Make a folder of so many bytes: parts, a log, a database."""
    folder.mkdir()
    for number in range(PARTS):
        (folder / f"part-{number:02}.bin").write_bytes(os.urandom(size // PARTS))
    (folder / "train.log").write_bytes(b"step 1 loss 0.5\n" * (size // PARTS // 16))
    with sqlite3.connect(folder / "metrics.db") as database:
        database.execute("CREATE TABLE metrics (step INTEGER PRIMARY KEY, value BLOB)")
        rows = ((number, os.urandom(1000)) for number in range(size // PARTS // 1000))
        database.executemany("INSERT INTO metrics VALUES (?, ?)", rows)
    database.close()
    return folder


def nothing(folder: Path, size: int, turn: int) -> None:
    """Change nothing."""


def in_place(folder: Path, size: int, turn: int) -> None:
    """Rewrite 1 % of all bytes, in one stretch of one file."""
    with (folder / f"part-{turn % PARTS:02}.bin").open("r+b") as file:
        file.seek(turn * 64 * KIB)
        file.write(os.urandom(size // 100))


def appended(folder: Path, size: int, turn: int) -> None:
    """Append 1 % to the log."""
    with (folder / "train.log").open("ab") as file:
        file.write(f"step {turn} loss 0.4\n".encode() * (size // 100 // 18))


def rotated(folder: Path, size: int, turn: int) -> None:
    """Add a checkpoint, and delete the oldest."""
    (folder / f"part-{turn + PARTS:02}.bin").write_bytes(os.urandom(size // PARTS))
    (folder / f"part-{turn:02}.bin").unlink(missing_ok=True)


def renamed(folder: Path, size: int, turn: int) -> None:
    """Give a part another name."""
    source = next(iter(sorted(folder.glob("part-*"))))
    source.rename(folder / f"moved-{turn}.bin")


def updated(folder: Path, size: int, turn: int) -> None:
    """Change 1 % of the rows of the database, where they lie."""
    with sqlite3.connect(folder / "metrics.db") as database:
        count = size // PARTS // 1000
        rows = ((os.urandom(1000), turn + 100 * number) for number in range(count // 100))
        database.executemany("UPDATE metrics SET value = ? WHERE step = ?", rows)
    database.close()


KINDS: dict[str, Callable[[Path, int, int], None]] = {
    "nothing": nothing,
    "1 % in place": in_place,
    "1 % appended to a log": appended,
    "a checkpoint added, the oldest deleted": rotated,
    "a file renamed": renamed,
    "1 % of a database's rows": updated,
}


def cycles(bench: Bench, tool: Studio, size: int) -> None:
    """Each kind of change, a few times, in a folder of its own."""
    for kind, change in KINDS.items():
        folder, repo = fill(bench.place("folder"), size), bench.place("home")
        tool.init(repo)
        tool.capture(repo, folder)
        seconds, read, written, objects = [], [], [], []
        for turn in range(bench.rounds):
            change(folder, size, turn)
            bytes_before, objects_before = tool.stored(repo)
            seconds.append(tool.capture(repo, folder).seconds)
            read.append(tool.said["bytes_read"])
            bytes_after, objects_after = tool.stored(repo)
            written.append(bytes_after - bytes_before)
            objects.append(objects_after - objects_before)
        note = f"at most {pretty(max(read))} read, {pretty(max(written))} and {max(objects)} objects written"
        bench.row("one cycle", kind, seconds, note=note)
        if kind == "nothing":
            bench.report.bar("nothing changed: bytes read and written", max(read) + max(written), 0)
        remove(folder)
        remove(repo)


def beside_a_tarball(bench: Bench, tool: Studio, size: int) -> None:
    """1 % changed a minute: what we write, and what a compressed tarball a minute does, as the original made it."""
    folder, repo = fill(bench.place("folder"), size), bench.place("home")
    tool.init(repo)
    tool.capture(repo, folder)
    first, _ = tool.stored(repo)
    tarballs = 0
    for turn in range(MINUTES):
        in_place(folder, size, turn)
        tool.capture(repo, folder)
        with tarfile.open(repo / "minute.tar.gz", "w:gz", compresslevel=6) as tar:
            tar.add(folder, "folder")
        tarballs += (repo / "minute.tar.gz").stat().st_size
    stored, _ = tool.stored(repo)
    bench.report.note(
        f"{MINUTES} minutes, 1 % changed in each: we write {pretty(stored - first)}, "
        f"a tarball a minute {pretty(tarballs)}, which is {tarballs / (stored - first):.0f} times as much"
    )
    bench.report.bar("bytes written beside those that changed", (stored - first) / (size // 100 * MINUTES), 1.6, "x")


def lines(number: int, size: int) -> bytes:
    """So many bytes of a log, none of its lines twice; they compress well, as logs do."""
    digits = os.urandom(size // 6).hex()
    text = b"".join(
        b"2026-11-22 10:00:00,000 INFO trainer step=%010d loss=%s grad=%s learning_rate=0.000300\n"
        % (number + at, digits[16 * at : 16 * at + 8].encode(), digits[16 * at + 8 : 16 * at + 16].encode())
        for at in range(size // 100)
    )
    return text[:size]


def growing(bench: Bench, tool: Studio, size: int) -> None:
    """A log that grows by a hundredth a minute beside a daemon: what the daemon's process reads, of any file at all."""
    folder, repo = bench.place("folder"), bench.place("home")
    folder.mkdir()
    tool.init(repo)
    with (folder / "train.log").open("wb") as log:
        for part in range(100):
            log.write(lines(part * size, size // 100))
    with syncing(tool, repo, folder) as daemon:
        seconds, read = [], []
        for turn in range(GROWN):
            time.sleep(REST)
            before, had = read_by(daemon), versions(repo)
            with (folder / "train.log").open("ab") as log:
                log.write(lines(turn, size // 100))
            began = time.monotonic()
            seconds.append(wait_for(lambda had=had: versions(repo) > had) - began)  # type: ignore[misc]
            time.sleep(REST)
            read.append(read_by(daemon) - before)
    grown = size // 100
    note = f"{pretty(grown)} appended; {pretty(round(median(read)))} read in the median, {pretty(max(read))} at most"
    bench.row("a log that grows, beside a daemon", pretty(size), seconds, note=note)
    bench.report.bar("a log that grows: bytes read beside those appended, at most", max(read) / grown, 1.2, "x")
    remove(folder)
    remove(repo)


def main() -> None:
    """Measure one cycle for each kind of change, then ten minutes."""
    with Bench("cycles of a folder", full=200 * MIB, quick=20 * MIB) as bench:
        for tool in chosen_ours(bench, ("studio",)):
            growing(bench, tool, bench.amount * GIB // (200 * MIB))
            cycles(bench, tool, bench.amount)
            beside_a_tarball(bench, tool, bench.amount)


if __name__ == "__main__":
    main()
