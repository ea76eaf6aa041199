"""A lock on this machine that names its holder: an flock, which the system drops when the process ends, however."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TRIES, PAUSE = 5, 0.02  # somebody who only looks holds it for microseconds


class Hold:
    """A lock that is held, until `release` or the end of the process."""

    def __init__(self, file: int) -> None:
        self._file = file

    def release(self) -> None:
        """Let others have it."""
        os.close(self._file)


def take(path: Path, about: Mapping[str, Any]) -> Hold | None:
    """Hold the lock `path`, and write `about` (who we are) into it; None where another process has it.

    Raises OSError where the file cannot be made.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for attempt in range(TRIES):
            if attempt:
                time.sleep(PAUSE)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(file, 0)
                os.pwrite(file, json.dumps(dict(about)).encode(), 0)
                return Hold(file)
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return None


def holder(path: Path) -> dict[str, Any] | None:
    """What the process that holds the lock `path` said of itself; None where nobody holds it."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(file)
    finally:
        os.close(file)
    return None


def _read(file: int) -> dict[str, Any]:
    try:
        about = json.loads(os.pread(file, 65536, 0))
    except ValueError:  # it is being written
        return {}
    return about if isinstance(about, dict) else {}
