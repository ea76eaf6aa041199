"""A process that stands back: it runs when others do not want the processor, and reads when they do not read."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import threading
from pathlib import Path

NICE = 10
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}  # numbers of the system call
_THREAD = 1
_BEST_EFFORT_LOWEST = 2 << 13 | 7  # and not idle: a busy disk would keep it from the last capture for ever


def stand_back() -> None:
    """Lower the priority of all our threads, for processor and disks; what is refused is left as it is.

    On Linux both belong to a thread, and a new one has those of the thread that starts it. Where the system shares the
    processor among sessions first, as Linux does on most desktops, the priority of a thread counts inside its session
    only: one that is ours alone stands back as a whole.
    """
    for thread in [each.native_id for each in threading.enumerate() if each.native_id]:
        with contextlib.suppress(OSError):
            if os.getpriority(os.PRIO_PROCESS, thread) < NICE:
                os.setpriority(os.PRIO_PROCESS, thread, NICE)
        number = _IOPRIO_SET.get(platform.machine())
        if number is not None and platform.system() == "Linux":
            ctypes.CDLL(None, use_errno=True).syscall(number, _THREAD, thread, _BEST_EFFORT_LOWEST)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(NICE))
