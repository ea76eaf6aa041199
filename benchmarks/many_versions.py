"""An artifact with 100,000 versions: how long its latest version and the newest of its list take, near and far."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from harness import Bench
from indexed_gcs import indexed_gcs

from studio_cas.testing.faulty_http import BUCKET

VERSIONS, QUICK = 100_000, 3_000
MOST_MS = 100.0


def measure(bench: Bench, where: str, store: str) -> None:
    """Ask for the versions as often as there are rounds; each question in a process that knows none."""
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
    """Measure a store in a folder, and the same store in a bucket."""
    with Bench("many versions", full=VERSIONS, quick=QUICK, unit="versions") as bench:
        folder = bench.place("store")
        bench.python("version_records.py", "make", folder, bench.place("home"), bench.amount)
        measure(bench, "local", str(folder))
        with indexed_gcs(folder, "team") as endpoint:
            bench.env["STORAGE_EMULATOR_HOST"] = endpoint
            measure(bench, "bucket", f"gs://{BUCKET}/team")
        bench.report.note(
            "bucket: of a server in Python that has an index of names, as the service has (indexed_gcs.py); "
            "fake-gcs-server looks at every object for each listing and each create"
        )


if __name__ == "__main__":
    main()
