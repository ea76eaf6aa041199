"""What several benchmarks do alike: a first capture by every tool, a pull by every tool, an unchanged capture."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from harness import COPYING, HASHING, PATIENCE, CommandError, remove, same
from measure import OpenWatch, Run, size_of
from ours import Studio
from peers import Restic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness import Bench
    from report import Row
    from tools import Tool


@dataclass(frozen=True, slots=True)
class FirstCapture:
    """One first capture into an empty store; the floor is one, too, that stores nothing."""

    run: Run
    stored: int = 0
    objects: int = 0


def first_captures(bench: Bench, section: str, tools: Sequence[Tool], source: Path) -> dict[str, Row]:
    """Let every tool capture a folder into an empty store, in turns with the floor; return the rows by tool."""

    def subject(tool: Tool) -> Callable[[], FirstCapture]:
        return lambda: _first_capture(bench, tool, source)

    subjects = {tool.name: subject(tool) for tool in tools}
    subjects["floor"] = lambda: FirstCapture(Run(bench.floor(source)))
    done = bench.interleaved(subjects)
    bench.floor_row(section, HASHING)
    total, _ = size_of(source)
    return {
        tool.name: bench.row(
            section, tool.name, [one.run.seconds for one in done[tool.name]], floor=HASHING,
            stored=done[tool.name][-1].stored / total, objects=done[tool.name][-1].objects,
            peak=max(one.run.peak for one in done[tool.name]),
            cpu=median(one.run.cpu for one in done[tool.name]), note=tool.note,
        )
        for tool in tools if tool.name in done
    }  # fmt: skip


def _first_capture(bench: Bench, tool: Tool, source: Path) -> FirstCapture:
    repo = bench.place(tool.name)
    try:
        tool.init(repo)
        done = tool.capture(repo, source)
        if isinstance(tool, Restic):
            bench.report.note_once("restic takes", f"{tool.start(repo):.2f} s to open a repository, its key included")
        return FirstCapture(done, *tool.stored(repo))
    finally:
        remove(repo)


def captured(bench: Bench, tool: Tool, source: Path) -> Path | None:
    """Return a store of the tool that holds the source, None where it fails."""
    repo = bench.place(tool.name)
    try:
        tool.init(repo)
        tool.capture(repo, source)
    except CommandError as error:
        bench.failed(tool.name, error)
        remove(repo)
        return None
    return repo


def pulls(bench: Bench, section: str, tools: Sequence[Tool], source: Path) -> dict[str, Row]:
    """Let every tool write a folder back, each in turns with `cp -r`; return the rows by tool.

    One tool after the other, so that only one store lies in memory; the first pull is compared with the source.
    """
    done: dict[str, list[Run]] = {}
    for tool in tools:
        if repo := captured(bench, tool, source):
            try:
                done[tool.name] = _pulls_of(bench, tool, repo, source)
            except CommandError as error:
                bench.failed(tool.name, error)
            remove(repo)
    bench.floor_row(section, COPYING)
    return {
        tool.name: bench.row(
            section, tool.name, [one.seconds for one in done[tool.name]], floor=COPYING,
            peak=max(one.peak for one in done[tool.name]),
            cpu=median(one.cpu for one in done[tool.name]), note=tool.note,
        )
        for tool in tools if tool.name in done
    }  # fmt: skip


def _pulls_of(bench: Bench, tool: Tool, repo: Path, source: Path) -> list[Run]:
    done: list[Run] = []
    for turn in range(bench.rounds):
        if done and done[-1].seconds > PATIENCE:
            break
        bench.copy_floor(source)
        target = bench.place("pulled")
        tool.forget_caches(repo)
        try:
            done.append(tool.pull(repo, source, target))
            if turn == 0 and not same(source, tool.pulled(source, target)):
                bench.report.note(f"WRONG: what {tool.name} pulled differs from the source")
        finally:
            remove(target)
    return done


def unchanged_captures(
    bench: Bench, section: str, tools: Sequence[Tool], source: Path, start: float
) -> dict[str, float]:
    """Let every tool capture a folder it has captured already; return seconds beside interpreter start, by tool.

    What `start` says is subtracted from our command line only: the API is timed inside, peers are shown whole.
    """
    beside: dict[str, float] = {}
    for tool in tools:
        if repo := captured(bench, tool, source):
            before = tool.stored(repo)
            try:
                done = [tool.capture(repo, source)]
                if done[0].seconds < PATIENCE:
                    done += [tool.capture(repo, source) for _ in range(1, bench.rounds)]
            except CommandError as error:
                bench.failed(tool.name, error)
                done = []
            if done:
                row = bench.row(section, tool.name, [one.seconds for one in done], peak=max(one.peak for one in done),
                                cpu=median(one.cpu for one in done),
                                note=_growth(before, tool.stored(repo), tool.note))  # fmt: skip
                ours = isinstance(tool, Studio)
                beside[tool.name] = row.median - (start if ours and tool.name.startswith("studio") else 0.0)
                if ours:
                    _reads_nothing(bench, section, tool, repo, source)
            remove(repo)
    return beside


def _growth(before: tuple[int, int], after: tuple[int, int], note: str) -> str:
    grown = f"{after[1] - before[1]} objects and {after[0] - before[0]} bytes more"
    return f"{note}; {grown}" if note else grown


def _reads_nothing(bench: Bench, section: str, tool: Tool, repo: Path, source: Path) -> None:
    """Capture once more, counting the data files that are opened and the objects that are created."""
    before = tool.stored(repo)
    with OpenWatch(source) as watch:
        tool.capture(repo, source)
    opened = float("inf") if watch.overflow else len(watch.opened)
    bench.report.bar(f"{section}, {tool.name}: data files opened", opened, 0)
    bench.report.bar(f"{section}, {tool.name}: objects created", tool.stored(repo)[1] - before[1], 0)


def growth(
    bench: Bench, section: str, tools: Sequence[Tool], source: Path, change: Callable[[], None]
) -> dict[str, int]:
    """Let every tool capture a source, before and after a change; return by how many bytes each store grew."""
    repos = {tool.name: repo for tool in tools if (repo := captured(bench, tool, source))}
    change()
    grown: dict[str, int] = {}
    for tool in tools:
        if tool.name not in repos:
            continue
        repo = repos[tool.name]
        before = tool.stored(repo)
        try:
            done = tool.capture(repo, source)
        except CommandError as error:
            bench.failed(tool.name, error)
            continue
        after = tool.stored(repo)
        grown[tool.name] = after[0] - before[0]
        note = f"stored {grown[tool.name] / (1 << 20):.3f} MiB more in {after[1] - before[1]} more objects"
        bench.row(
            section, tool.name, [done.seconds], peak=done.peak, note=f"{note}; {tool.note}" if tool.note else note
        )
        remove(repo)
    return grown
