"""20 logs of 2.5 MiB, each grown by 1 %: how much the store grows."""

from harness import MIB, Bench
from ours import chosen_ours
from peers import PLAIN, chosen_peers
from scenes import growth

LOG = 5 * MIB // 2


def main() -> None:
    """Measure stored growth of all tools."""
    with Bench("20 logs grown by 1 %", full=20 * LOG, quick=20 * LOG) as bench:
        size = bench.amount // 20
        source = bench.generate("logs", bench.place("source"), size)
        tools = [*chosen_ours(bench, ("studio",)), *chosen_peers(bench, without=PLAIN)]
        grown = growth(bench, "after growing", tools, source, lambda: bench.change("grow_logs", source, size // 100))
        if "studio" in grown:
            bench.report.bar("studio: stored growth", grown["studio"] / MIB, 0.7, " MiB")


if __name__ == "__main__":
    main()
