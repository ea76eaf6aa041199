"""A process that stands back: it runs when others do not want the processor, and reads when they do not read."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform

NICE = 10
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}  # numbers of the system call
_THIS_THREAD = 1, 0
_BEST_EFFORT_LOWEST = 2 << 13 | 7  # and not idle: a busy disk would keep it from the last capture for ever


def stand_back() -> None:
    """Lower the priority of this thread and those it starts, for processor and disks; what is refused is left."""
    with contextlib.suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, 0) < NICE:
            os.setpriority(os.PRIO_PROCESS, 0, NICE)
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None and platform.system() == "Linux":
        ctypes.CDLL(None, use_errno=True).syscall(number, *_THIS_THREAD, _BEST_EFFORT_LOWEST)
