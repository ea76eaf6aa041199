"""Pull of float32 checkpoints, 1 GiB in 8 files, from the local store to an empty place, beside `cp -r`."""

from harness import GIB, MIB, Bench
from ours import chosen_ours
from peers import chosen_peers
from scenes import pulls


def main() -> None:
    """Measure all tools; judge ours with and without codecs."""
    with Bench("pull of float32 checkpoints", full=GIB, quick=64 * MIB) as bench:
        source = bench.generate("checkpoints", bench.place("source"), bench.amount)
        rows = pulls(bench, "pull", [*chosen_ours(bench), *chosen_peers(bench)], source)
        for name, limit in (("studio", 2.5), ("studio-off", 1.6)):
            if name in rows:
                bench.report.bar(f"{name}: time", rows[name].ratio, limit, "x cp -r")
        bench.report.note("our caches beside the store are dropped before each pull, as if another machine pulled")


if __name__ == "__main__":
    main()
