"""The home folder of studio_cas on this machine, and the places in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from studio_cas.backends.tilde import expanded

if TYPE_CHECKING:
    from collections.abc import Mapping

HOME_VARIABLE = "STUDIOML_HOME"


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
