"""1,000,000 small files: memory of capture and pull, time of the unchanged capture. Peers only where named."""

from harness import Bench, remove
from measure import Run, TreeMemory
from ours import Studio, chosen_ours
from peers import chosen_peers
from scenes import captured

MIB = 1 << 20
GOOD_FOR = 1024
"""MiB of memory that a million files may take."""


def step(bench: Bench, tool: Studio, name: str, run: Run, memory: TreeMemory) -> None:
    """Add a row; the memory is that of all processes together, or of the largest as the kernel saw it."""
    peak = max(run.peak, memory.peak)
    bench.row("ours", f"{tool.name}: {name}", [run.seconds], peak=peak)
    if name != "unchanged capture":
        bench.report.bar(f"{tool.name}: memory of {name}", peak / MIB, GOOD_FOR, " MiB")


def main() -> None:
    """Capture, capture again, pull."""
    with Bench("a million small files", full=1_000_000, quick=20_000, unit="files") as bench:
        start = bench.interpreter()
        source = bench.generate("small", bench.place("source"), bench.amount)
        for tool in chosen_ours(bench, ("studio",)):
            repo, target = bench.place(tool.name), bench.place("pulled")
            tool.init(repo)
            for name in ("first capture", "unchanged capture", "pull"):
                tool.memory = TreeMemory()
                run = tool.pull(repo, source, target) if name == "pull" else tool.capture(repo, source)
                step(bench, tool, name, run, tool.memory)
                if name == "unchanged capture":
                    bench.report.bar(f"{tool.name}: unchanged capture", run.seconds - start, 15, " s")
            remove(target)
            remove(repo)
        if bench.args.peers != "all":
            for peer in chosen_peers(bench):
                if peer_repo := captured(bench, peer, source):
                    again = peer.capture(peer_repo, source)
                    bench.row("peers", f"{peer.name}: unchanged capture", [again.seconds], peak=again.peak)
                    remove(peer_repo)


if __name__ == "__main__":
    main()
