"""10 MB appended to a 1 GiB log: how much is read of the log, and how many packs are made."""

from harness import GIB, MIB, Bench, remove
from measure import bytes_read
from ours import Studio, chosen_ours
from peers import PLAIN, chosen_peers
from scenes import captured, growth

APPENDED = 10_000_000


def judge(bench: Bench, tool: Studio, grown: int, before: int, after: int) -> None:
    """Compare what the capture said of itself with the bars."""
    bench.report.note(f"{tool.name}: stored {grown / MIB:.3f} MiB for {APPENDED / MIB:.3f} MiB appended")
    bench.report.bar(f"{tool.name}: bytes read, as it says", tool.said["bytes_read"] / 1e6, 12, " MB")
    bench.report.bar(f"{tool.name}: data packs made", after - before, 1)


def main() -> None:
    """Measure all tools; judge how much ours reads, also as the system saw it."""
    with Bench("10 MB appended to a log", full=GIB, quick=64 * MIB) as bench:
        source = bench.place("source")
        file = bench.generate("log", source / "train.log", bench.amount)
        for tool in chosen_ours(bench, ("studio",)):
            if not (repo := captured(bench, tool, source)):
                continue
            packs, (before, _) = tool.packs(repo), tool.stored(repo)
            bench.change("grow_log", file, APPENDED)
            run = tool.capture(repo, source)
            bench.row("ours after appending", tool.name, [run.seconds], peak=run.peak)
            judge(bench, tool, tool.stored(repo)[0] - before, packs, tool.packs(repo))
            bench.change("grow_log", file, APPENDED)
            read = bytes_read(tool.capture_command(source), [source], env=tool.environment(repo), cwd=repo)
            if read:
                bench.report.bar(f"{tool.name}: bytes read, as strace sees it", read[0] / 1e6, 12, " MB")
            remove(repo)
        growth(bench, "peers after appending", chosen_peers(bench, without=PLAIN), source,
               lambda: bench.change("grow_log", file, APPENDED))  # fmt: skip


if __name__ == "__main__":
    main()
