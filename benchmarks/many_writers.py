"""Many processes capture to one store at once: versions a second, and whether every one of them reads back."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from harness import Bench

if TYPE_CHECKING:
    from pathlib import Path

WRITERS, QUICK = 200, 20
EACH = 5
"""Versions that each process makes."""
MOST_SECONDS = 60.0
"""For 1,000 versions."""


def measure(bench: Bench, kind: str, each: int) -> dict[str, Any]:
    """Let all writers write, to artifacts of their own or to one artifact of all; return what the driver says."""
    base: Path = bench.place("base")
    base.mkdir()
    said: dict[str, Any] = json.loads(bench.python("writers_driver.py", kind, base, bench.amount, each).output)
    versions = said["versions"]
    bench.row(kind, "studio", [said["seconds"]], cpu=said["cpu"], note=f"{versions / said['seconds']:.1f} versions/s")
    creates, lists = said["creates"] / versions, said["lists"] / versions
    bench.report.note(
        f"{kind}: {bench.amount} processes, {versions} versions, {creates:.2f} attempts to create an object and "
        f"{lists:.2f} listings for each; the slowest version took {said['slowest']:.2f} s"
    )
    wrong = said["wrong"]
    bench.report.note(f"{kind}: every version reads back" if not wrong else f"WRONG: {kind}: {'; '.join(wrong[:5])}")
    return said


def main() -> None:
    """Measure writers that share nothing but the store, and writers that share an artifact."""
    with Bench("many processes capture to one store at once", full=WRITERS, quick=QUICK, unit="processes") as bench:
        bench.report.note(f"{os.cpu_count()} processors")
        own = measure(bench, "own artifacts", EACH)
        text = "seconds for 1,000 versions, each process an artifact of its own"
        bench.report.bar(text, own["seconds"] * 1000 / own["versions"], MOST_SECONDS, " s")
        measure(bench, "one artifact", 1)


if __name__ == "__main__":
    main()
