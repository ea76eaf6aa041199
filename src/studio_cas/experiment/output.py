"""What a script prints: shown as it comes, and kept byte for byte in one file.

Each distinct target of our own stdout and stderr becomes one channel, so that their order is kept where they are the
same: a pseudo-terminal where the target is a terminal (scripts behave as on it), else a pipe. The pseudo-terminal does
no output processing: what is kept is what the script wrote.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import struct
import termios
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PIECE = 1 << 16
IDLE = 0.2  # seconds without output after which a script that has ended is taken at its word
DRAIN_LIMIT = 5.0  # seconds that a process left behind by the script may go on printing


@dataclass(frozen=True, slots=True)
class Channel:
    """One target: the end we read, the end the script writes, and where it is shown (None: nowhere)."""

    read: int
    write: int
    shown: int | None
    terminal: bool


@dataclass(frozen=True, slots=True)
class Channels:
    """The channels of a script's stdout and stderr, which may be one and the same."""

    stdout: Channel
    stderr: Channel

    def distinct(self) -> list[Channel]:
        """Each channel once."""
        return [self.stdout] if self.stdout is self.stderr else [self.stdout, self.stderr]

    def close_script_side(self) -> None:
        """Close our copies of the ends that the script has got: the end of output can then be seen."""
        for channel in self.distinct():
            if channel.write >= 0:
                os.close(channel.write)

    def copy_window_size(self) -> None:
        """Tell pseudo-terminals the size of the real one."""
        for channel in self.distinct():
            if channel.terminal and channel.shown is not None:
                _copy_window_size(channel.shown, channel.read)


def inherited_channels(ends: Sequence[int]) -> Channels:
    """Channels whose script runs already: `ends` are those we read, stdout's first. They are shown nowhere."""
    channels = [Channel(end, -1, None, terminal=False) for end in ends]
    return Channels(channels[0], channels[-1])


def open_channels(stdout: int = 1, stderr: int = 2) -> Channels:
    """Channels for a script whose output is shown on `stdout` and `stderr`."""
    first = _open_channel(stdout)
    return Channels(first, first if _same_target(stdout, stderr) else _open_channel(stderr))


def _same_target(one: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(one, other)
    except OSError:  # one of them is closed
        return False


def _open_channel(shown: int) -> Channel:
    try:
        terminal = os.isatty(shown)
        os.fstat(shown)
    except OSError:
        read, write = os.pipe()
        return Channel(read, write, None, terminal=False)
    if not terminal:
        read, write = os.pipe()
        return Channel(read, write, shown, terminal=False)
    master, slave = os.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[1] &= ~termios.OPOST  # no \n to \r\n: the real terminal does that
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    _copy_window_size(shown, master)
    return Channel(master, slave, shown, terminal=True)


def _copy_window_size(source: int, target: int) -> None:
    with contextlib.suppress(OSError):
        size = fcntl.ioctl(source, termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
        fcntl.ioctl(target, termios.TIOCSWINSZ, size)


class Recorder:
    """A thread that moves a script's output from its channels to the screen and into a file.

    With `again`, it goes on with the file of one that was killed.
    """

    def __init__(self, channels: Channels, file: Path, *, again: bool = False) -> None:
        self.problem: str | None = None
        self._channels = channels
        self._file_name = file
        self._shown = {channel.read: channel.shown for channel in channels.distinct()}
        begin = 0 if again else os.O_TRUNC
        self._file: int | None = os.open(file, os.O_WRONLY | os.O_CREAT | begin | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="script output", daemon=True)

    def start(self) -> None:
        """Begin, once the script has its ends of the channels; they belong to the recorder from now on."""
        self._channels.close_script_side()
        self._thread.start()

    def finish(self) -> None:
        """The script has ended: take what it left in the channels, and close everything."""
        os.close(self._wake_write)
        self._thread.join()
        os.close(self._wake_read)
        if self._file is not None:
            os.close(self._file)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for descriptor in (*self._shown, self._wake_read):
                selector.register(descriptor, selectors.EVENT_READ)
            deadline = None
            while len(selector.get_map()) > (1 if deadline is None else 0):
                ready = selector.select(None if deadline is None else IDLE)
                if deadline is not None and (not ready or time.monotonic() > deadline):
                    break
                for key, _ in ready:
                    if key.fd == self._wake_read:
                        deadline = time.monotonic() + DRAIN_LIMIT
                        selector.unregister(key.fd)
                    elif not self._move(key.fd):
                        selector.unregister(key.fd)
        for descriptor in self._shown:
            os.close(descriptor)

    def _move(self, source: int) -> bool:
        """Move what there is; False at the end of that channel."""
        try:
            piece = os.read(source, PIECE)
        except OSError:  # a pseudo-terminal whose last writer is gone says EIO
            return False
        if not piece:
            return False
        self._keep(piece)
        shown = self._shown[source]
        if shown is not None and not _write_all(shown, piece):
            self._shown[source] = None  # the terminal or the reader of the pipe is gone; the file still fills
        return True

    def _keep(self, piece: bytes) -> None:
        if self._file is None:
            return
        try:
            view = memoryview(piece)
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            self.problem = f"the script's output could not be kept in {self._file_name}: {error.strerror}"
            os.close(self._file)
            self._file = None


def _write_all(descriptor: int, piece: bytes) -> bool:
    """Write all of `piece`; False where nobody can take it any more."""
    view = memoryview(piece)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:  # somebody made our stdout non-blocking
            with selectors.DefaultSelector() as selector:
                selector.register(descriptor, selectors.EVENT_WRITE)
                selector.select()
        except OSError:
            return False
    return True
