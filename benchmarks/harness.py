"""What every benchmark shares: its arguments, its work folder, the floor, the order of the rounds, and its report.

A script says what it measures in a `with Bench(...) as bench:` block; the report is printed when the block ends.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Self, TypeVar

from measure import CommandError, Run, run, size_of
from report import Report, Row, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

HERE = Path(__file__).parent
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PATIENCE = 15.0
"""Seconds: what takes longer is measured once, not in every round."""
HASHING = "read + BLAKE3, one thread"
COPYING = "cp -r"
T = TypeVar("T")


def size(text: str) -> int:
    """Parse 64MiB, 1GiB, 20000."""
    for suffix, factor in (("KiB", KIB), ("MiB", MIB), ("GiB", GIB)):
        if text.endswith(suffix):
            return int(float(text.removesuffix(suffix)) * factor)
    return int(text)


def pretty(number: int) -> str:
    """Write a number of bytes for people."""
    for suffix, factor in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if number >= factor:
            return f"{number / factor:.4g} {suffix}"
    return f"{number} bytes"


def arguments(description: str) -> argparse.Namespace:
    """Parse the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--size", type=size, help="of the workload: 64MiB, 1GiB, or a number of files")
    parser.add_argument("--quick", action="store_true", help="a small workload: tries the script, judges nothing")
    parser.add_argument("--peers", default="all", help="all, none, or some: restic,borg")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each measurement; the median counts")
    parser.add_argument("--ours", default="all", help="all, none, or some: studio,api,studio-off,api-off")
    parser.add_argument("--work", type=Path, default=Path("/dev/shm"), help="where to work; a tmpfs")  # noqa: S108
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    return parser.parse_args()


class Bench:
    """One run of one benchmark: `work` is an empty folder, removed at the end; `env` is what children get."""

    def __init__(self, question: str, *, full: int, quick: int, unit: str = "bytes") -> None:
        self.args = arguments(question)
        self.amount: int = self.args.size or (quick if self.args.quick else full)
        self.rounds: int = self.args.rounds
        self.work = Path(tempfile.mkdtemp(prefix="studio-benchmark-", dir=self.args.work))
        self.env = environment(self.work)
        self._places = 0
        amount = pretty(self.amount) if unit == "bytes" else f"{self.amount} {unit}"
        self.report = Report(
            name=Path(sys.argv[0]).stem, question=question, workload=amount, full_size=self.amount >= full,
            machine=machine(self.work), versions={"python": platform.python_version(), "studio_cas": our_version()},
        )  # fmt: skip

    def __enter__(self) -> Self:
        """Return the bench; from here on a signal cleans up, too."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the work folder; print and write the report when nothing went wrong."""
        shutil.rmtree(self.work, ignore_errors=True)
        if error is None:
            self.report.machine["load after"] = f"{os.getloadavg()[0]:.2f}"
            print(self.report.text())
            if self.args.json:
                self.report.write(self.args.json)

    # --- the parts of a measurement -----------------------------------------------------------------------------------

    def place(self, name: str) -> Path:
        """Return a path in the work folder that nothing used before."""
        self._places += 1
        return self.work / f"{name}_{self._places}"

    def generate(self, generator: str, path: Path, number: int) -> Path:
        """Make data, in a child process (see measure.py), and let its times become old: a fresh file is racy."""
        self.python("datasets.py", generator, path, number)
        time.sleep(0.1)
        return path

    def change(self, generator: str, path: Path, number: int) -> None:
        """Change data, in a child process."""
        self.generate(generator, path, number)

    def python(self, script: str, *args: object) -> Run:
        """Run a script of this folder."""
        return run([sys.executable, HERE / script, *map(str, args)], env=self.env)

    def floor(self, source: Path) -> float:
        """Read and hash the source once, in one thread; return seconds."""
        seconds, cpu = map(float, self.python("floor.py", source).output.split())
        return self._keep(HASHING, seconds, cpu)

    def copy_floor(self, source: Path) -> float:
        """Copy the source with `cp -r` once; return seconds."""
        target = self.place("copy")
        try:
            done = run(["cp", "-r", source, target], env=self.env)
            return self._keep(COPYING, done.seconds, done.cpu)
        finally:
            remove(target)

    def _keep(self, floor: str, seconds: float, cpu: float) -> float:
        self.report.floors.setdefault(floor, []).append(seconds)
        self.report.floors.setdefault(f"{floor}: CPU", []).append(cpu)
        return seconds

    def floor_row(self, section: str, floor: str) -> None:
        """Add the row of a floor to a table."""
        if floor in self.report.floors:
            cpu = median(self.report.floors[f"{floor}: CPU"])
            self.row(section, "floor", self.report.floors[floor], floor=floor, cpu=cpu, note=floor)

    def interpreter(self) -> float:
        """Return the median seconds that `python -c pass` takes: what "beside interpreter start" subtracts."""
        starts = [run([sys.executable, "-c", "pass"], env=self.env).seconds for _ in range(max(self.rounds, 5))]
        self.report.note(f"interpreter start (python -c pass): {median(starts) * 1000:.0f} ms, median of {len(starts)}")
        return median(starts)

    def interleaved(self, subjects: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
        """Run every subject in every round, beginning with another one each time; slow ones run once.

        A subject that fails is left out of the answer, and the report says why.
        """
        results: dict[str, list[T]] = {name: [] for name in subjects}
        names = list(subjects)
        slow: set[str] = set()
        for turn in range(self.rounds):
            shift = turn % len(names)
            for name in names[shift:] + names[:shift]:
                if name in slow or name not in results:
                    continue
                began = time.perf_counter()
                try:
                    results[name].append(subjects[name]())
                except CommandError as error:
                    self.failed(name, error)
                    del results[name]
                if time.perf_counter() - began > PATIENCE:
                    slow.add(name)
        return results

    def failed(self, name: str, error: CommandError) -> None:
        """Say that a tool failed."""
        print(f"{name} failed: {error}", file=sys.stderr)
        self.report.note(f"{name} failed: {str(error).strip().splitlines()[-1]}")

    def row(self, section: str, tool: str, seconds: Sequence[float], *, floor: str = "", **figures: Any) -> Row:
        """Add one tool's row to a table; its ratio is to the median of that floor in this run."""
        floors = self.report.floors.get(floor)
        if floors:
            figures |= {"floor": median(floors), "floor_best": min(floors)}
        row = Row(tool, tuple(seconds), **figures)
        self.report.add(section, row)
        return row


def environment(work: Path) -> dict[str, str]:
    """Make the home and temporary folders and return a small environment that points to them."""
    home, temporary = work / "home", work / "tmp"
    home.mkdir()
    temporary.mkdir()
    peers = os.environ.get("STUDIO_BENCHMARK_PEERS", str(Path.home() / ".cache/studio-benchmark-peers/bin"))
    paths = [peers, str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return {
        "HOME": str(home), "TMPDIR": str(temporary), "PATH": ":".join(paths), "LANG": "C.UTF-8",
        "BORG_BASE_DIR": str(home / "borg"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        "RESTIC_PASSWORD": "benchmark", "HF_XET_CACHE": str(home / "xet"), "RCLONE_CONFIG": str(home / "rclone.conf"),
    }  # fmt: skip


def our_version() -> str:
    """Return our package's version and, in a checkout, its commit."""
    try:
        version = importlib.metadata.version("studio-cas")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
    commit = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return f"{version} ({commit.stdout.strip()})" if commit.returncode == 0 else version


def remove(path: Path) -> None:
    """Remove a file or a folder, read-only ones too, or nothing."""
    while path.is_dir():
        with suppress(FileNotFoundError):  # a daemon that comes to its end removes its own folder there
            for place, _, _ in os.walk(path):
                os.chmod(place, 0o755)  # noqa: PTH101, S103
            shutil.rmtree(path)
    path.unlink(missing_ok=True)


def same(left: Path, right: Path) -> bool:
    """Say whether two folders hold the same files."""
    found = subprocess.run(["diff", "-rq", "--no-dereference", str(left), str(right)], capture_output=True, check=False)
    return found.returncode == 0


__all__ = [
    "COPYING",
    "GIB",
    "HASHING",
    "KIB",
    "MIB",
    "PATIENCE",
    "Bench",
    "CommandError",
    "Run",
    "pretty",
    "remove",
    "same",
    "size_of",
]
