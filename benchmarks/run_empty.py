"""`studio run` of an empty script in a small folder: what it costs beyond the script, captures included."""

import sys
from pathlib import Path

from harness import Bench, CommandError
from measure import Run, run
from ours import Studio, chosen_ours


def small_folder(folder: Path) -> Path:
    """Make a folder with an empty script and ten small files."""
    folder.mkdir()
    (folder / "empty.py").write_text("")
    for index in range(10):
        (folder / f"part_{index}.py").write_text(f"NUMBER = {index}\n" * 50)
    return folder


def main() -> None:
    """Run the script alone and under `studio run`, the first time with an empty home."""
    with Bench("studio run of an empty script", full=5, quick=2, unit="runs a round") as bench:
        folder = small_folder(bench.place("folder"))
        home = bench.place("home")
        home.mkdir()

        def alone() -> Run:
            return run([sys.executable, "empty.py"], env=bench.env, cwd=folder)

        def ours(tool: Studio) -> Run:
            return run(tool.command("run", "empty.py"), env=tool.environment(home), cwd=folder)

        script = [alone().seconds for _ in range(bench.rounds * bench.amount)]
        row = bench.row("runs", "the script alone", script)
        for tool in chosen_ours(bench, ("studio",)):
            try:
                first = ours(tool)
                done = [ours(tool).seconds for _ in range(bench.rounds * bench.amount)]
            except CommandError as error:
                bench.failed("studio run", error)
                continue
            bench.row("runs", "studio run, the first ever", [first.seconds], peak=first.peak)
            under = bench.row("runs", "studio run", done)
            bench.report.bar("studio run beyond the script", under.median - row.median, 1, " s")


if __name__ == "__main__":
    main()
