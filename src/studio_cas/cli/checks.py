"""What `studio doctor` looks at, one function a subject; each gives findings, and raises nothing on purpose."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from studio_cas import native
from studio_cas.cli.rendering import counted, size
from studio_cas.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from studio_cas.config import Config

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
    yield Finding("compiled loops", "ok", native.state())


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


def check_signing(config: Config) -> Iterator[Finding]:
    """Which key signs versions, and which are trusted; nothing where nobody asked for signatures."""
    from studio_cas.store.signing import load_signer
    from studio_cas.store.trust import trusted_keys

    try:
        signer, known = load_signer(config.home), trusted_keys(config.home)
    except ConfigError as error:
        yield Finding("signatures", "fail", str(error), "studio trust list tells more when it is mended")
        return
    if signer is None and not known and not config.require_signatures:
        return
    signing = f"versions are signed with {signer.key}" if signer else "versions are not signed"
    text = f"{signing}; {counted(len(known), 'key')} trusted"
    if config.require_signatures and not known:
        yield Finding("signatures", "warn", text, "requireSignatures refuses everything: studio trust add NAME PUBKEY")
    elif signer and all(one.key != signer.key for one in known):
        advice = f"studio log --verify calls its versions untrusted: studio trust add NAME {signer.key}"
        yield Finding("signatures", "warn", text, advice)
    else:
        yield Finding("signatures", "ok", text)


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
