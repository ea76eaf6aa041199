"""A sync daemon as a process, for the benchmarks: begun, asked for a version, ended; and what it took."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ours import Studio

VERSIONS = Path("store/versions/bench/data")
PATIENCE = 600.0


def wait_for(condition: Callable[[], bool], pause: float = 0.005) -> float:
    """Wait until the condition holds; return the moment, of the monotonic clock."""
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("a sync daemon did not do what it was waited for")
        time.sleep(pause)
    return time.monotonic()


def versions(repo: Path) -> int:
    """Count the versions of the benchmark's artifact."""
    try:
        return len(os.listdir(repo / VERSIONS))  # noqa: PTH208
    except FileNotFoundError:
        return 0


@contextmanager
def syncing(tool: Studio, repo: Path, folder: Path, *options: str) -> Iterator[int]:
    """Keep a folder as the benchmark's artifact; gives the daemon's process id, when there is a first version."""
    command = tool.command("sync", folder, "bench/data", "--quiet", *options)
    with subprocess.Popen(list(map(str, command)), env=tool.environment(repo), cwd=repo) as daemon:
        wait_for(lambda: versions(repo) > 0)
        try:
            yield daemon.pid
        finally:
            daemon.send_signal(signal.SIGTERM)


def cpu_of(pid: int) -> float:
    """Return the seconds of processor time that a process took so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_by(pid: int) -> int:
    """Return the bytes that a process read so far with system calls, of files and of anything else."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["rchar"])
