"""First capture of fresh float32 checkpoints: 1 GiB in 8 files, into an empty local store."""

from harness import GIB, MIB, Bench
from ours import chosen_ours
from peers import chosen_peers
from scenes import first_captures


def main() -> None:
    """Measure all tools; judge ours with and without codecs."""
    with Bench("first capture of fresh float32 checkpoints", full=GIB, quick=64 * MIB) as bench:
        source = bench.generate("checkpoints", bench.place("source"), bench.amount)
        tools = [*chosen_ours(bench), *chosen_peers(bench)]
        rows = first_captures(bench, "first capture", tools, source)
        for name, limit in (("studio", 2.5), ("studio-off", 2.0)):
            if name in rows:
                bench.report.bar(f"{name}: time", rows[name].ratio, limit, "x the floor")
        if "studio" in rows:
            bench.report.bar("studio: stored", rows["studio"].stored or 0, 0.84, " of the source")


if __name__ == "__main__":
    main()
