"""500 versions, one a minute: what each writes, and how the last is pulled beside a first of the same content."""

from __future__ import annotations

import json
import shutil
from statistics import median
from typing import TYPE_CHECKING, Any

from harness import MIB, Bench, pretty, remove, same
from measure import size_of
from versions_scenes import SCENES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VERSIONS, QUICK = 500, 60
CLOUD = 0.03
"""Seconds that each request takes in a cloud."""


def driver(bench: Bench, *arguments: object) -> dict[str, Any]:
    """Run the driver in a process of its own; return what it says."""
    said: dict[str, Any] = json.loads(bench.python("versions_driver.py", *arguments).output)
    return said


def make(bench: Bench, scene: str, merge: str) -> tuple[Path, Path]:
    """Make all versions of a scene; return the folder as it is in the end, and the home that holds the store."""
    folder, home = bench.place("folder"), bench.place("home")
    folder.mkdir()
    size = int(bench.amount * SCENES[scene][2])
    said = driver(bench, "make", scene, folder, home, size, QUICK if bench.args.quick else VERSIONS, merge)
    stored, _ = size_of(home / "store")
    how = "merged" if merge == "yes" else "not merged"
    bench.report.note(
        f"{scene}, {how}: a cycle takes {said['seconds'] * 1000:.0f} ms in the median, "
        f"{said['slowest'] * 1000:.0f} at most; reads at most {pretty(said['read'])} of the folder; creates "
        f"{said['creates']:.2f} objects in the mean, {said['most']} at most; the store has {pretty(stored)}"
    )
    return folder, home


def pulled(bench: Bench, home: Path, folder: Path, delay: float) -> dict[str, Any]:
    """Pull the latest version by a machine that knows nothing of it."""
    remove(home / "cache")
    target = bench.place("pulled")
    said = driver(bench, "pull", home, target, delay)
    if not same(folder, target):
        bench.report.note(f"WRONG: what was pulled from {home.name} differs from the folder")
    shutil.rmtree(target)
    return said


def compare(bench: Bench, scene: str, folder: Path, homes: dict[str, Path], delay: float) -> None:
    """Pull from all homes in turns; judge the last version by the first."""

    def subject(home: Path) -> Callable[[], dict[str, Any]]:
        return lambda: pulled(bench, home, folder, delay)

    done = bench.interleaved({name: subject(home) for name, home in homes.items()})
    where = f", {CLOUD * 1000:.0f} ms a request" if delay else ""
    for name, said in done.items():
        one = said[0]
        bench.row(
            f"{scene}{where}", name, [each["seconds"] for each in said], cpu=median(each["cpu"] for each in said),
            objects=one["objects"], note=f"{one['reads']} reads, {one['bytes'] / MIB:.2f} MiB",
        )  # fmt: skip
    first, last = done["version 1"], done[f"version {VERSIONS}"]
    ratio = median(each["seconds"] for each in last) / median(each["seconds"] for each in first)
    bench.report.bar(f"{scene}{where}: time of the last version beside the first", ratio, 1.3, "x")
    if not delay:
        ratio = last[0]["bytes"] / first[0]["bytes"]
        bench.report.bar(f"{scene}: bytes read, of the last version beside the first", ratio, 1.3, "x")


def main() -> None:
    """Measure all scenes."""
    with Bench("500 versions, one a minute", full=200 * MIB, quick=20 * MIB) as bench:
        for scene in SCENES:
            unmerged = make(bench, scene, "no")
            folder, home = make(bench, scene, "yes")
            first = bench.place("home")
            driver(bench, "push", folder, first)
            homes = {"version 1": first, f"version {VERSIONS}": home, "the same, not merged": unmerged[1]}
            for delay in (0.0, CLOUD):
                compare(bench, scene, folder, homes, delay)
            for path in (folder, home, first, *unmerged):
                remove(path)


if __name__ == "__main__":
    main()
