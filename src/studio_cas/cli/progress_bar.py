"""The progress bar of long work: amount, rate and time left, on stderr, where that is a terminal."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from studio_cas.cli.rendering import counted, size
from studio_cas.progress import Progress, Silent

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

PATIENCE = 0.5  # seconds; work that ends sooner shows nothing, and does not pay for importing rich


def progress_bar(root: Path | None = None) -> Progress:
    """A bar on a terminal, silence elsewhere; where `root` is read, how much there is is found out on the way."""
    return Bar(root) if sys.stderr.isatty() else Silent()


class Bar:
    """A bar that appears once a phase has taken half a second."""

    def __init__(self, root: Path | None = None) -> None:
        self._weigher = _Weigher(root) if root is not None else None
        self._began = time.monotonic()
        self._label = ""
        self._total: int | None = None
        self._done = 0
        self._files = 0
        self._shown: tuple[RichProgress, TaskID] | None = None

    def start(self, label: str, total_bytes: int | None = None) -> None:
        """A phase begins; the bar starts again from nothing."""
        self._label, self._total, self._done, self._files = label, total_bytes, 0, 0
        if self._shown is not None:
            bar, task = self._shown
            bar.reset(task, description=label, total=total_bytes, files="")

    def advance(self, count: int, files: int = 0) -> None:
        """Count bytes and files, and show them if it has taken long enough."""
        self._done += count
        self._files += files
        if self._shown is None:
            if time.monotonic() - self._began < PATIENCE:
                return
            self._shown = self._appear()
        bar, task = self._shown
        if self._total is None and self._weigher is not None and self._weigher.total is not None:
            self._total = self._weigher.total
            bar.update(task, total=self._total)
        bar.update(task, completed=self._done, files=counted(self._files, "file") if self._files else "")

    def finish(self) -> None:
        """Take the bar off the screen."""
        if self._weigher is not None:
            self._weigher.stop()
        if self._shown is not None:
            self._shown[0].stop()
            self._shown = None

    def _appear(self) -> tuple[RichProgress, TaskID]:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            ProgressColumn,
            Task,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress
        from rich.text import Text

        class Rate(ProgressColumn):
            """The rate in the units of the amount beside it, where rich has powers of ten."""

            def render(self, task: Task) -> Text:
                speed = task.finished_speed or task.speed
                return Text("" if speed is None else f"{size(int(speed))}/s")

        bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            Rate(),
            TextColumn("{task.fields[files]}", markup=False),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=Console(stderr=True),
            transient=True,
        )
        bar.start()
        if self._total is None and self._weigher is not None:
            self._weigher.start()
        return bar, bar.add_task(self._label, total=self._total, files="")


class _Weigher:
    """Adds up the sizes of all files below a path, in a thread, so that the time left can be told."""

    def __init__(self, root: Path) -> None:
        self.total: int | None = None
        self._root = root
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, unless it has begun."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._weigh, name="weigh", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End it, finished or not."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _weigh(self) -> None:
        total = 0
        folders: list[str | os.PathLike[str]] = [self._root]
        try:
            if self._root.is_file():
                self.total = self._root.stat().st_size
                return
            while folders and not self._stopped.is_set():
                with os.scandir(folders.pop()) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
                        elif entry.is_file(follow_symlinks=False):
                            total += entry.stat(follow_symlinks=False).st_size
            self.total = total
        except OSError:
            return  # what cannot be read is the capture's to report; the bar goes on without a total
