"""Packs of 32 MiB to and from an emulator of Google Cloud Storage, beside a minimal program with the same HTTP library.

Both run in each round, in turns; the ratio is taken within a round.
"""

from __future__ import annotations

import json
import urllib.request
from statistics import median
from typing import Any

from harness import MIB, Bench

STREAMS = (1, 4, 16)
FULL, QUICK = 16, 2
MOST = 1.25
"""Times the minimal program's seconds: 80 % of its throughput."""
PACK = 32


def main() -> None:
    """Measure put and get with 1, 4 and 16 streams."""
    from studio_cas.testing.gcs_emulator import gcs_emulator, program

    with Bench("throughput of a bucket", full=FULL, quick=QUICK, unit="packs of 32 MiB") as bench:
        if program() is None:
            bench.report.note("the emulator is not installed: nothing is measured")
            return
        said: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
        for number in range(bench.rounds):
            for streams in STREAMS:
                with gcs_emulator() as emulator:  # a new one each time: it keeps everything in memory
                    bench.env["STORAGE_EMULATOR_HOST"] = emulator.endpoint
                    bucket = emulator.new_bucket()
                    make(emulator.endpoint, bucket)
                    for task in ("put", "get"):
                        for who in ("ours", "minimal") if number % 2 else ("minimal", "ours"):
                            run = bench.python("bucket_driver.py", who, task, streams, bench.amount, bucket)
                            said.setdefault((task, streams, who), []).append(json.loads(run.output))
        for task in ("put", "get"):
            for streams in STREAMS:
                show(bench, task, streams, said[task, streams, "ours"], said[task, streams, "minimal"])


def make(endpoint: str, bucket: str) -> None:
    """Make the bucket."""
    request = urllib.request.Request(f"{endpoint}/storage/v1/b", json.dumps({"name": bucket}).encode())  # noqa: S310 - http
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).close()


def show(bench: Bench, task: str, streams: int, ours: list[dict[str, Any]], least: list[dict[str, Any]]) -> None:
    """Add the rows and the bar of one case."""
    section = f"{task}, {streams} at once"
    for name, rows in (("ours", ours), ("minimal program", least)):
        seconds = [row["seconds"] for row in rows]
        rate = f"{bench.amount * PACK / median(seconds):.0f} MiB/s"
        peak = max(row["peak"] for row in rows)
        bench.row(section, name, seconds, cpu=median(row["cpu"] for row in rows), peak=int(peak * MIB), note=rate)
    ratio = median(one["seconds"] / other["seconds"] for one, other in zip(ours, least, strict=True))
    bench.report.bar(f"{section}: seconds of ours to the minimal program's", ratio, MOST, "x")


if __name__ == "__main__":
    main()
