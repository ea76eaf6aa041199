"""Capture after 1 KiB was inserted at 10 places of a 512 MiB file of random bytes: how much the store grows."""

from harness import MIB, Bench
from ours import chosen_ours
from peers import PLAIN, chosen_peers
from scenes import growth


def main() -> None:
    """Measure stored growth of all tools."""
    with Bench("1 KiB inserted at 10 places of a file", full=512 * MIB, quick=64 * MIB) as bench:
        source = bench.place("source")
        file = bench.generate("random", source / "data.bin", bench.amount)
        tools = [*chosen_ours(bench, ("studio",)), *chosen_peers(bench, without=PLAIN)]
        grown = growth(bench, "after the insertions", tools, source, lambda: bench.change("insert", file, 10))
        if "studio" in grown:
            bench.report.bar("studio: stored growth", grown["studio"] / MIB, 4, " MiB")


if __name__ == "__main__":
    main()
