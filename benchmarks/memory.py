"""Memory of capture and pull, whatever the file's size: one sparse file of 8 GiB, and dense checkpoints."""

from harness import GIB, Bench, CommandError, remove
from measure import TreeMemory
from ours import Studio, chosen_ours

MIB = 1 << 20
LIMIT = 512


def measure(bench: Bench, tool: Studio, kind: str) -> None:
    """Capture and pull one kind of source, sampling the memory of all processes."""
    source = bench.place("source")
    if kind == "sparse file":
        bench.generate("sparse", source / "sparse.bin", bench.amount)
    else:
        bench.generate("checkpoints", source, bench.amount // 8)
    repo, target = bench.place(tool.name), bench.place("pulled")
    tool.init(repo)
    for name in ("capture", "pull"):
        tool.memory = TreeMemory()
        run = tool.capture(repo, source) if name == "capture" else tool.pull(repo, source, target)
        peak = max(run.peak, tool.memory.peak)
        bench.row(kind, f"{tool.name}: {name}", [run.seconds], peak=peak)
        bench.report.bar(f"{kind}, {tool.name}: memory of {name}", peak / MIB, LIMIT, " MiB")
        if name == "pull":
            used = sum(path.stat().st_blocks * 512 for path in target.rglob("*") if path.is_file())
            bench.report.note(f"{kind}: the pulled copy occupies {used / MIB:.0f} MiB")
    for path in (source, repo, target):
        remove(path)


def main() -> None:
    """Measure ours on both kinds."""
    with Bench("memory of capture and pull", full=8 * GIB, quick=GIB) as bench:
        for tool in chosen_ours(bench, ("studio",)):
            for kind in ("sparse file", "checkpoints"):
                try:
                    measure(bench, tool, kind)
                except CommandError as error:
                    bench.failed(f"{tool.name}, {kind}", error)


if __name__ == "__main__":
    main()
