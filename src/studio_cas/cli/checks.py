"""What `studio doctor` looks at, one function a subject; each gives findings, and raises nothing on purpose."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from studio_cas.cli.rendering import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    State = Literal["ok", "warn", "fail"]

GIB = 1 << 30
SKEW_LIMIT = 30.0  # seconds; versions carry this machine's time, and people compare them between machines
WATCHES = 65536  # a workspace of that many folders can be watched
PACKAGES = ("blake3", "gcsfs", "numpy", "pyfastcdc", "watchdog", "zstandard")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor: what was looked at, how it is, and what to do where it is not well."""

    subject: str
    state: State
    text: str
    advice: str = ""


def check_versions() -> Iterator[Finding]:
    """Python, this package, and the packages that do the heavy work."""
    from importlib.metadata import PackageNotFoundError, version

    yield Finding("python", "ok", f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    missing = []
    found = [f"studio-cas {version('studio-cas')}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    yield Finding("packages", "ok", ", ".join(found))
    if missing:
        yield Finding("packages", "fail", f"not installed: {', '.join(missing)}", "install studio-cas again")


def check_home(home: Path) -> Iterator[Finding]:
    """Can the home be written, and is there room in it?"""
    nearest = home
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        yield Finding("home", "fail", f"{nearest} cannot be written", "set STUDIOML_HOME to a folder that can")
        return
    yield Finding("home", "ok", str(home) + ("" if home.exists() else ", not made yet"))
    free = shutil.disk_usage(nearest).free
    state: State = "ok" if free >= 5 * GIB else "warn" if free >= GIB // 2 else "fail"
    advice = "" if state == "ok" else "make room: studio cache clean, or set STUDIOML_HOME to another disk"
    yield Finding("disk space", state, f"{size(free)} free at {nearest}", advice)


def check_system() -> Iterator[Finding]:
    """Limits of the operating system that captures depend on."""
    if not sys.platform.startswith("linux"):
        return
    watches = _read_number("/proc/sys/fs/inotify/max_user_watches")
    if watches is not None:
        state: State = "ok" if watches >= WATCHES else "warn"
        advice = (
            "" if state == "ok" else f"sysctl fs.inotify.max_user_watches={WATCHES * 8}; else changes are seen later"
        )
        yield Finding("inotify", state, f"{watches:,} watches", advice)
    leases = _read_number("/proc/sys/fs/leases-enable")
    if leases == 0:
        advice = "sysctl fs.leases-enable=1; else a file that is being written is told by waiting"
        yield Finding("file leases", "warn", "switched off", advice)
    elif leases is not None:
        yield Finding("file leases", "ok", "on")
    import resource

    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    many = files == resource.RLIM_INFINITY or files >= 1024
    yield Finding("open files", "ok" if many else "warn", f"at most {files:,}", "" if many else "ulimit -n 4096")


def _read_number(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
