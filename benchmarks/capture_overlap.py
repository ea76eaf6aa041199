"""A capture to a bucket behind a slow line: uploads go on beside hashing and compression, so the slower of both counts.

In each round first a line that is not slow, which gives the seconds of the work; then one over which what is stored
takes as many seconds. One after the other would take twice as long. The start of the command, a push of next to
nothing, is taken off.
"""

from __future__ import annotations

import json
import sys
from statistics import median

from harness import GIB, Bench, size
from measure import Run, run
from slow_gcs import slow_gcs

from studio_cas.testing.faulty_http import BUCKET

QUICK = size("256MiB")
MOST = 1.3
"""Times the slower of both: the line waits for the first pack, and has the last one before it when the work is done."""


def push(bench: Bench, source: object, rate: float) -> tuple[Run, int]:
    """Capture into a new store; the run, and the bytes that were stored."""
    with slow_gcs(rate) as endpoint:
        home = bench.place("home")
        bench.env |= {"STORAGE_EMULATOR_HOST": endpoint, "STUDIOML_HOME": str(home)}
        words = ["push", source, "exp/tag", "--store", f"gs://{BUCKET}/team", "--json"]
        done = run([sys.executable, "-m", "studio_cas.cli.main", *map(str, words)], env=bench.env)
    return done, int(json.loads(done.output)["bytes_stored"])


def main() -> None:
    """Measure both lines."""
    with Bench("uploads beside the work of a capture", full=GIB, quick=QUICK) as bench:
        source = bench.place("source")
        bench.generate("checkpoints", source, bench.amount)
        little = bench.place("little")
        little.mkdir()
        (little / "file").write_text("little")
        starts, fast, slow, ratios, stored = [], [], [], [], 0
        for _ in range(bench.rounds):
            start, _ = push(bench, little, 0)
            work, stored = push(bench, source, 0)
            seconds = work.seconds - start.seconds
            both, _ = push(bench, source, stored / seconds)
            starts.append(start)
            fast.append(work)
            slow.append(both)
            ratios.append((both.seconds - start.seconds) / seconds)
        for name, runs in (
            ("next to nothing", starts),
            ("a line that is not slow", fast),
            ("a line as slow as the work", slow),
        ):
            bench.row(
                "capture", name, [one.seconds for one in runs], cpu=median(one.cpu for one in runs),
                peak=max(one.peak for one in runs),
            )  # fmt: skip
        bench.report.bar("seconds of work and upload together to the slower of both", median(ratios), MOST, "x")
        bench.report.note(f"stored: {stored / (1 << 20):.0f} MiB")


if __name__ == "__main__":
    main()
