"""Other processes that a daemon lives for: which they are, whatever becomes of their numbers, and when they end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio_cas.errors import NotFoundError

if TYPE_CHECKING:
    from typing import Self


_INFO_SIZE, _INFO_EXIT = 64, 1 << 3  # struct pidfd_info in linux/pidfd.h; its last field is the exit code
_GET_INFO = 3 << 30 | _INFO_SIZE << 16 | 0xFF << 8 | 11


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


def exit_code(process: Process, descriptor: int) -> int | None:
    """How a process that has ended, and is watched through `descriptor`, ended: as os.waitstatus_to_exitcode gives it.

    It need not be a child of ours: Linux tells it of a zombie, and since 6.15 of one that is gone. None where it does
    not.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open(f"/proc/{process.pid}/stat", "rb") as file:  # noqa: PTH123
            fields = file.read().rpartition(b")")[2].split()
        if fields[0] == b"Z" and int(fields[19]) == process.started:
            return os.waitstatus_to_exitcode(int(fields[49]))
    answer = bytearray(_INFO_SIZE)
    struct.pack_into("Q", answer, 0, _INFO_EXIT)
    with contextlib.suppress(OSError, ValueError):
        fcntl.ioctl(descriptor, _GET_INFO, answer)
        if struct.unpack_from("Q", answer, 0)[0] & _INFO_EXIT:
            return os.waitstatus_to_exitcode(struct.unpack_from("i", answer, _INFO_SIZE - 4)[0])
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
