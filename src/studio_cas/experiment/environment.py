"""In what environment a script runs: Python, packages, git, host. Gathered beside the script, which does not wait."""

from __future__ import annotations

import json
import os
import platform
import re
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from studio_cas.experiment.asking import answer_of
from studio_cas.experiment.resources import measure_resources
from studio_cas.formats.experiment import Git, Started

if TYPE_CHECKING:
    from collections.abc import Mapping

DIFF_LIMIT = 1 << 18  # characters of uncommitted changes in the record; the workspace has them all
_HEADERS = 1000  # name and version stand at the top; parsing all of it as mail would cost more than the rest of a start
TIMEOUT = 20.0  # seconds for each question to git or to another Python
_QUESTION = (
    "import json, platform, importlib.metadata as m; print(json.dumps([platform.python_version(), "
    "{d.metadata['Name']: d.version for d in m.distributions() if d.metadata['Name']}]))"
)


def choose_python(executable: str, prefix: str, base_prefix: str, called_as: str, environ: Mapping[str, str]) -> str:
    """The Python for a script: the one of the active environment.

    `executable`, `prefix` and `base_prefix` are ours, `called_as` is how studio was called. Where another environment
    is active, and studio lives in the system, or in an environment of its own as a tool that is linked from elsewhere,
    it is the Python of the active one; in every other case it is ours.
    """
    active = environ.get("VIRTUAL_ENV") or environ.get("CONDA_PREFIX")
    if not active or os.path.realpath(active) == os.path.realpath(prefix):
        return executable
    if os.path.basename(called_as) != "studio":  # noqa: PTH119  # python -m: that Python was chosen by name
        return executable
    called_directly = os.path.dirname(os.path.abspath(called_as)) == os.path.dirname(executable)  # noqa: PTH100, PTH120
    if called_directly and prefix != base_prefix:
        return executable
    python = Path(active) / "bin" / "python"
    return str(python) if os.access(python, os.X_OK) else executable


def active_python() -> str:
    """The Python that runs scripts here and now."""
    return choose_python(sys.executable, sys.prefix, sys.base_prefix, sys.argv[0], os.environ)


def gather(python: str, folder: Path, pid: int, time: float) -> Started:
    """What is known of the environment of process `pid`, which runs `python` in `folder` since `time`."""
    version, packages = ask_python(python)
    return Started(
        time=time,
        host=socket.gethostname(),
        pid=pid,
        platform=_platform(),
        python=python,
        python_version=version,
        packages=packages,
        git=read_git(folder),
        runner=os.getpid(),
        resources=measure_resources(),
    )


def _platform() -> str:
    """System, release and machine; platform.platform() would start a process to ask for the processor."""
    system = os.uname()
    return f"{system.sysname}-{system.release}-{system.machine}"


def ask_python(python: str) -> tuple[str, dict[str, str]]:
    """Version and packages of a Python; nothing where it does not answer."""
    if python == sys.executable:
        return platform.python_version(), installed_packages()
    answer = answer_of([python, "-c", _QUESTION], Path("/"), TIMEOUT)
    try:
        version, packages = json.loads(answer or "")
    except ValueError:
        return "", {}
    return version, packages


def installed_packages() -> dict[str, str]:
    """Name to version of every package of this Python; the first on the path wins, as with an import."""
    from importlib.metadata import distributions

    packages: dict[str, str] = {}
    for distribution in distributions():
        text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
        headers = dict(
            line.split(": ", 1) for line in text[:_HEADERS].splitlines() if line.startswith(("Name: ", "Version: "))
        )
        if len(headers) == 2:
            packages.setdefault(headers["Name"], headers["Version"])
    return dict(sorted(packages.items(), key=lambda item: item[0].lower()))


def compare(started: Started, python: str) -> list[str]:
    """What `python` lacks of the recorded environment, or has in another version: a sentence for each."""
    version, packages = ask_python(python)
    here = {_canonical(name): found for name, found in packages.items()}
    differences = []
    if started.python_version and started.python_version != version:
        differences.append(f"Python {started.python_version} then, {version or 'unknown'} here")
    for name, then in started.packages.items():
        now = here.get(_canonical(name))
        if now != then:
            differences.append(f"{name} {then} then, {now or 'missing'} here")
    return differences


def _canonical(name: str) -> str:
    """One spelling for the many of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_git(folder: Path) -> Git | None:
    """The state of the repository around `folder`, None where there is none (or no commit, or no git)."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    status = _git(folder, "status", "--porcelain", "--untracked-files=normal") or ""
    diff = (_git(folder, "diff", "HEAD", "--no-color", "--no-ext-diff") or "") if status else ""
    return Git(
        commit=commit.strip(),
        branch=(_git(folder, "rev-parse", "--abbrev-ref", "HEAD") or "").strip(),
        dirty=bool(status),
        remote=without_secret((_git(folder, "config", "--get", "remote.origin.url") or "").strip()),
        diff=diff[:DIFF_LIMIT],
        diff_cut=len(diff) > DIFF_LIMIT,
    )


def without_secret(url: str) -> str:
    """`url` without a user's name and password."""
    parts = urlsplit(url)
    if not parts.scheme or "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _git(folder: Path, *words: str) -> str | None:
    return answer_of(["git", *words], folder, TIMEOUT)
