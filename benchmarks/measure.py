"""Measuring one command: wall time, CPU time, peak memory, bytes read, and which files it touched.

The peak memory that Linux reports of a child is at least what its parent held when it started it, so the process that
uses this module stays small: data is generated, and the floor is measured, in children of their own.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import struct
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType


@dataclass(frozen=True, slots=True)
class Run:
    """One finished command: seconds of wall and CPU time, peak bytes of its largest process, what it printed."""

    seconds: float
    cpu: float = 0.0
    peak: int = 0
    output: str = ""


class CommandError(Exception):
    """A measured command returned another exit code than 0."""


def run(
    command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path | None = None, tree: TreeMemory | None = None
) -> Run:
    """Run a command to its end and measure it; with `tree`, sample the memory of all its processes together."""
    with TemporaryFile(dir=env.get("TMPDIR")) as out, TemporaryFile(dir=env.get("TMPDIR")) as err:
        started = time.perf_counter()
        child = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=dict(env), cwd=cwd
        )
        if tree:
            tree.watch(child.pid)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        output = out.read().decode(errors="replace")
        if child.returncode:
            said = (output + err.read().decode(errors="replace"))[-2000:]
            raise CommandError(f"exit code {child.returncode} from {' '.join(map(str, command))}\n{said}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, output)


# --- memory of a whole process tree ---------------------------------------------------------------------------------


class TreeMemory:
    """Samples a process and its descendants 50 times a second; `peak` is the highest sum of resident bytes."""

    def __init__(self) -> None:
        self.peak = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, pid: int) -> None:
        """Begin to sample; ends by itself when the process has ended."""
        self._thread = threading.Thread(target=self._sample, args=(pid,), daemon=True)
        self._thread.start()

    def _sample(self, pid: int) -> None:
        while not self._stop.wait(0.02):
            total = sum(resident(one) for one in descendants(pid))
            if not total:
                return
            self.peak = max(self.peak, total)


def descendants(pid: int) -> Iterator[int]:
    """Yield a process and all its living descendants."""
    yield pid
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from descendants(int(child))
    except OSError:
        return


def resident(pid: int) -> int:
    """Return the resident bytes of a process that are not pages of files; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return sum(int(kib) * 1024 for kib in re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+)", status, re.MULTILINE))


# --- which files were opened ----------------------------------------------------------------------------------------

IN_OPEN, IN_ISDIR, IN_Q_OVERFLOW = 0x20, 0x40000000, 0x4000


class OpenWatch:
    """Counts how often files (not folders) under a folder are opened by anybody, through inotify."""

    def __init__(self, folder: Path) -> None:
        self.opened: set[str] = set()
        self.overflow = False
        self._folders: dict[int, str] = {}
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK)
        for place, _, _ in os.walk(folder):
            number = self._libc.inotify_add_watch(self._fd, os.fsencode(place), IN_OPEN)
            if number < 0:
                raise OSError(ctypes.get_errno(), "inotify_add_watch", place)
            self._folders[number] = place

    def __enter__(self) -> Self:
        """Return the watch, which counts already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Read what was reported."""
        while True:
            try:
                block = os.read(self._fd, 1 << 20)
            except BlockingIOError:
                break
            self._take(block)
        os.close(self._fd)

    def _take(self, block: bytes) -> None:
        at = 0
        while at < len(block):
            number, mask, _, length = struct.unpack_from("iIII", block, at)
            name = block[at + 16 : at + 16 + length].rstrip(b"\0")
            at += 16 + length
            if mask & IN_Q_OVERFLOW:
                self.overflow = True
            elif not mask & IN_ISDIR:
                self.opened.add(f"{self._folders.get(number, '?')}/{os.fsdecode(name)}")


# --- how many bytes were read from where ----------------------------------------------------------------------------

READS = "read,pread64,readv,preadv,preadv2,sendfile,copy_file_range,splice,mmap"


def bytes_read(
    command: Sequence[str | Path], folders: Sequence[Path], *, env: Mapping[str, str], cwd: Path | None = None
) -> list[int] | None:
    """Run a command under strace; return the bytes it read from files under each folder, None without strace."""
    if not shutil.which("strace"):
        return None
    with TemporaryDirectory(dir=env.get("TMPDIR")) as traces:
        prefix = f"{traces}/trace"
        run(["strace", "-ff", "-y", "-qq", "-s", "0", "-e", f"trace={READS}", "-o", prefix, *command], env=env, cwd=cwd)
        lines = [line for path in Path(traces).iterdir() for line in path.read_text(errors="replace").splitlines()]
    return [sum(read_under(line, f"{folder}/") for line in lines) for folder in folders]


def read_under(line: str, prefix: str) -> int:
    """Return how many bytes one line of strace's output says were read from a file under the prefix."""
    call = line.partition("(")[0]
    places = re.findall(r"\d+<([^>]*)>", line)
    answer = re.search(r"\) = (\d+)$", line)
    if call == "mmap":
        length = re.match(r"mmap\(\w+, (\d+), PROT_READ, ", line)
        return int(length[1]) if length and places and places[0].startswith(prefix) else 0
    source = places[-1:] if call == "sendfile" else places[:1]
    return int(answer[1]) if answer and source and source[0].startswith(prefix) else 0


# --- sizes ----------------------------------------------------------------------------------------------------------


def size_of(folder: Path) -> tuple[int, int]:
    """Return (bytes, number) of the files under a folder."""
    if folder.is_file():
        return folder.stat().st_size, 1
    total = count = 0
    for place, _, names in os.walk(folder):
        for name in names:
            total += os.lstat(f"{place}/{name}").st_size
            count += 1
    return total, count
