"""What the machine gives to a run: processors, memory, GPUs; a container's limits count where they are lower."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from studio_cas.experiment.asking import answer_of
from studio_cas.formats.experiment import Gpu, Resources

GPU_TIMEOUT = 5.0  # seconds; a driver that hangs must not keep a run from ending
_GROUP = Path("/sys/fs/cgroup")  # of this process, as a container sees it
_QUERY = ("--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")
_MEBIBYTE = 1 << 20


def measure_resources(group: Path = _GROUP) -> Resources:
    """What there is here and now; what the system does not tell is 0, or missing."""
    return Resources(cpus=_cpus(group), memory=_memory(group), gpus=find_gpus())


def _cpus(group: Path) -> float:
    """The processors that this process may use; a container's quota may be a part of one."""
    usable = float(len(os.sched_getaffinity(0)))
    with suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text().split()
        usable = min(usable, int(quota) / int(period))  # "max" is no number: no quota
    return usable


def _memory(group: Path) -> int:
    """Bytes of memory, or of the container's limit where that is lower."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        memory = min(memory, int((group / "memory.max").read_text()))
    return memory


def find_gpus() -> tuple[Gpu, ...]:
    """The GPUs that nvidia-smi names; none where there is no such program, or it fails or hangs."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    return parse_gpus(answer_of([program, *_QUERY], Path("/"), GPU_TIMEOUT) or "")


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """The lines of nvidia-smi: name, MiB of memory, driver. A line that is none of these is left out."""
    gpus = []
    for line in text.splitlines():
        name, _, rest = line.partition(", ")
        memory, _, driver = rest.partition(", ")
        if name and memory.strip().isdecimal():
            gpus.append(Gpu(name.strip(), int(memory) * _MEBIBYTE, driver.strip()))
    return tuple(gpus)
