"""The home folder of studio_cas on this machine, and the places in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from studio_cas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

HOME_VARIABLE = "STUDIOML_HOME"


def expanded(path: str) -> str:
    """`path` with the home folder for a `~` at its begin. Raises UsageError where there is none."""
    result = os.path.expanduser(path)  # noqa: PTH111  # Path.expanduser raises what is no StudioError
    if not (path.startswith("~") and result.startswith("~")):
        return result
    user = path.partition("/")[0].removeprefix("~")
    if user:
        raise UsageError(f"{path}: there is no user {user}; a folder with such a name is written ./{path}")
    raise UsageError(
        f"{path}: this user has no home folder: set HOME, or STUDIOML_HOME, to a folder that can be written"
    )


def studio_home(environ: Mapping[str, str] | None = None) -> Path:
    """`$STUDIOML_HOME`, or `~/.studioml`; absolute, and not created. Raises UsageError where there is no home."""
    named = (os.environ if environ is None else environ).get(HOME_VARIABLE)
    return Path(os.path.abspath(expanded(named or "~/.studioml")))  # noqa: PTH100  # keeps links


def default_store(home: Path) -> Path:
    """The embedded local store."""
    return home / "store"


def experiment_folder(home: Path, experiment: str) -> Path:
    """Where this machine keeps the artifacts of an experiment that have no other place."""
    return home / "experiments" / experiment


def blobcache_folder(home: Path) -> Path:
    """Where artifacts of other experiments are materialised."""
    return home / "blobcache"
