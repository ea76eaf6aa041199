"""A `~` at the begin of a path."""

from __future__ import annotations

import os

from studio_cas.errors import UsageError


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
