"""An artifact with 100,000 versions: how long its latest version and the newest of its list take, near and far."""

from __future__ import annotations

import json
from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING, Any

from harness import Bench

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS, QUICK = 100_000, 3_000
MOST_MS = 100.0


def measure(bench: Bench, where: str, store: str, home: Path) -> None:
    """Make the versions, and ask for them as often as there are rounds; each question in a process that knows none."""
    bench.python("version_records.py", "make", store, home, bench.amount)
    asked: list[dict[str, Any]] = [
        json.loads(bench.python("version_records.py", "ask", store, bench.place("home")).output)
        for _ in range(bench.rounds)
    ]
    for question in asked[0]:
        rows = [each[question] for each in asked]
        seconds = [row["seconds"] for row in rows]
        note = f"{rows[0]['lists']} listings, {rows[0]['reads']} reads"
        bench.row(where, question, seconds, cpu=median(row["cpu"] for row in rows), note=note)
        if question != "plain listing of one name":
            bench.report.bar(f"{where}: {question}", median(seconds) * 1000, MOST_MS, " ms")


def main() -> None:
    """Measure a local store, and one in the emulator of Google Cloud Storage where that is installed."""
    from studio_cas.testing.gcs_emulator import gcs_emulator, program

    with Bench("many versions", full=VERSIONS, quick=QUICK, unit="versions") as bench, ExitStack() as stack:
        measure(bench, "local", str(bench.place("store")), bench.place("home"))
        if program() is None:
            bench.report.note("emulator: not installed, not measured")
            return
        emulator = stack.enter_context(gcs_emulator())
        bench.env["STORAGE_EMULATOR_HOST"] = emulator.endpoint
        measure(bench, "emulator", f"gs://{emulator.new_bucket()}/team", bench.place("home"))
        bench.report.note(
            "emulator: it looks at every object for each listing, as its time for one name shows; the service does not"
        )


if __name__ == "__main__":
    main()
