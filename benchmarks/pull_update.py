"""Pull of a version over the one before it, 1 % changed: how much is read from the store."""

from harness import GIB, MIB, Bench, CommandError, remove, same
from measure import bytes_read, size_of
from ours import Studio, chosen_ours


def update(bench: Bench, tool: Studio) -> None:
    """Capture, pull, change 1 %, capture, pull over: twice, the second time under strace."""
    source = bench.generate("checkpoints", bench.place("source"), bench.amount)
    repo, target = bench.place(tool.name), bench.place("pulled")
    tool.init(repo)
    tool.capture(repo, source)
    tool.pull(repo, source, target)
    total, _ = size_of(source)
    bench.change("change", source, 10)
    tool.capture(repo, source)
    run = tool.pull(repo, source, target)
    bench.row("pull over the version before", tool.name, [run.seconds], peak=run.peak)
    bench.report.bar(
        f"{tool.name}: fetched, as it says", 100 * tool.said["bytes_fetched"] / total, 5, " % of the source"
    )
    if not same(source, target):
        bench.report.note("WRONG: what was pulled differs from the source")
    bench.change("change", source, 11)
    tool.capture(repo, source)
    read = bytes_read(tool.pull_command(target), [repo / "store"], env=tool.environment(repo), cwd=repo)
    if read:
        bench.report.bar(
            f"{tool.name}: read from the store, as strace sees it", 100 * read[0] / total, 5, " % of the source"
        )
    for path in (source, repo, target):
        remove(path)


def main() -> None:
    """Measure ours; of the peers only rsync-like tools update in place, and they have no versions."""
    with Bench("pull of version N+1 over version N, 1 % changed", full=GIB, quick=64 * MIB) as bench:
        for tool in chosen_ours(bench, ("studio",)):
            try:
                update(bench, tool)
            except CommandError as error:
                bench.failed(tool.name, error)


if __name__ == "__main__":
    main()
