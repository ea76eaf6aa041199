"""The progress bar of long work: amount, rate and time left, on stderr, where that is a terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from studio_cas.progress import Progress, Silent

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

PATIENCE = 0.5  # seconds; work that ends sooner shows nothing, and does not pay for importing rich


def progress_bar() -> Progress:
    """A bar on a terminal, silence elsewhere."""
    return Bar() if sys.stderr.isatty() else Silent()


class Bar:
    """A bar that appears once a phase has taken half a second."""

    def __init__(self) -> None:
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
        bar.update(task, completed=self._done, files=f"{self._files:,} files" if self._files else "")

    def finish(self) -> None:
        """Take the bar off the screen."""
        if self._shown is not None:
            self._shown[0].stop()
            self._shown = None

    def _appear(self) -> tuple[RichProgress, TaskID]:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as RichProgress

        bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TextColumn("{task.fields[files]}", markup=False),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=Console(stderr=True),
            transient=True,
        )
        bar.start()
        return bar, bar.add_task(self._label, total=self._total, files="")
