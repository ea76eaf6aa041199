"""Other processes that a daemon lives for: which they are, whatever becomes of their numbers, and when they end."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio_cas.errors import NotFoundError

if TYPE_CHECKING:
    from typing import Self


@dataclass(frozen=True, slots=True)
class Process:
    """A process of this machine. `started`: its start in the kernel's ticks, or 0; a number alone comes again."""

    pid: int
    started: int = 0

    @classmethod
    def find(cls, pid: int) -> Self:
        """The process with that number. Raises NotFoundError."""
        started = _start_of(pid)
        if started is None:
            raise NotFoundError(f"there is no process {pid}")
        return cls(pid, started)

    def alive(self) -> bool:
        """Whether it is there, and no zombie."""
        started = _start_of(self.pid)
        return started is not None and self.started in {0, started}

    def watch(self) -> int | None:
        """A descriptor that becomes readable at its end; None where it has ended, or the system has no such thing."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except (OSError, AttributeError):
            return None
        if self.alive():
            return descriptor
        os.close(descriptor)
        return None


def _start_of(pid: int) -> int | None:
    """The start of a living process; 0 where the system does not tell; None where there is none."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            fields = file.read().rpartition(b")")[2].split()
        return None if fields[0] in {b"Z", b"X"} else int(fields[19])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return 0
    return 0
