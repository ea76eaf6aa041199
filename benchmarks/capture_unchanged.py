"""Capturing what has not changed: checkpoints (1 GiB in 8 files), and 20,000 small files."""

from harness import GIB, MIB, Bench, remove
from ours import chosen_ours
from peers import chosen_peers
from scenes import unchanged_captures


def main() -> None:
    """Measure both folders; judge ours beside interpreter start, and that no data file is opened."""
    with Bench("capture again, unchanged", full=GIB, quick=64 * MIB) as bench:
        start = bench.interpreter()
        tools = [*chosen_ours(bench, ("studio", "api")), *chosen_peers(bench)]
        files = max(200, 20_000 * min(bench.amount, GIB) // GIB)
        for section, generator, amount, limit in (
            ("8 checkpoints", "checkpoints", bench.amount, 0.2),
            (f"{files} small files", "small", files, 0.6),
        ):
            source = bench.generate(generator, bench.place("source"), amount)
            beside = unchanged_captures(bench, section, tools, source, start)
            for name in beside.keys() & {"studio", "api"}:
                bench.report.bar(f"{section}, {name}: time beside interpreter start", beside[name], limit, " s")
            remove(source)


if __name__ == "__main__":
    main()
