"""Asking another program a question: git, another Python, nvidia-smi. It may be missing, fail, or hang."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def answer_of(command: list[str], folder: Path, timeout: float) -> str | None:
    """What a command prints, in `timeout` seconds at most; None where it failed.

    Git is told to take no lock: it would write in the repository.
    """
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603  # our own words
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
            start_new_session=True,  # a Ctrl-C at the terminal is not meant for it
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
