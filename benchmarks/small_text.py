"""10,000 text files of 1-20 KiB: first capture, stored bytes, objects, unchanged capture, and pull."""

from harness import Bench
from ours import chosen_ours
from peers import chosen_peers
from scenes import first_captures, pulls, unchanged_captures


def main() -> None:
    """Measure all tools in three scenes."""
    with Bench("small text files", full=10_000, quick=1000, unit="files") as bench:
        start = bench.interpreter()
        source = bench.generate("text", bench.place("source"), bench.amount)
        ours, peers = chosen_ours(bench, ("studio", "api")), chosen_peers(bench)
        first = first_captures(bench, "first capture", [*ours, *peers], source)
        beside = unchanged_captures(bench, "unchanged", [*ours, *peers], source, start)
        pulled = pulls(bench, "pull", [*ours, *peers], source)
        bar = bench.report.bar
        if "studio" in first:
            bar("studio: first capture", first["studio"].ratio, 4, "x the floor")
            bar("studio: stored", first["studio"].stored or 0, 0.42, " of the source")
            bar("studio: objects", first["studio"].objects or 0, 20)
        for name in beside.keys() & {"studio", "api"}:
            bar(f"{name}: unchanged, beside interpreter start", beside[name], 0.3, " s")
        if "studio" in pulled:
            bar("studio: pull", pulled["studio"].ratio, 2.5, "x cp -r")


if __name__ == "__main__":
    main()
