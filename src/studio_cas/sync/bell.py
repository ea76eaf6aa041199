"""What the loop of a daemon waits for: a wake-up from a thread or a signal, a request, the end of a process."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
from typing import TYPE_CHECKING, Any

from studio_cas.sync.control import Door
from studio_cas.sync.processes import Process, exit_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from typing import Self

    from studio_cas.sync.control import Asker

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Bell:
    """Use as a context manager in the main thread: signals go to `on_signal` while it is open."""

    def __init__(self, control: Path, on_signal: Callable[[], None]) -> None:
        self._control = control
        self._on_signal = on_signal
        self._selector = selectors.DefaultSelector()
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._processes: dict[int, Process] = {}
        self._ended: list[tuple[Process, int | None]] = []
        self._previous: dict[int, Any] = {}
        self._door: Door | None = None

    def __enter__(self) -> Self:
        self._selector.register(self._read, selectors.EVENT_READ)
        self._door = Door(self._control, self._selector)
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it on purpose
                self._previous[number] = signal.signal(number, self._signalled)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._door is not None:
            self._door.close()
        for descriptor in self._processes:
            os.close(descriptor)
        self._selector.close()

    def _signalled(self, _number: int, _frame: object) -> None:
        self._on_signal()
        self.wake()

    def wake(self) -> None:
        """End a `wait`; from any thread."""
        with contextlib.suppress(OSError):  # it is full, and the loop will wake; or the loop has ended
            os.write(self._write, b"!")

    @property
    def attended(self) -> bool:
        """Whether one of the processes is still there."""
        return bool(self._processes)

    def attend(self, processes: Iterable[Process]) -> None:
        """Wake at the ends of `processes` too."""
        for process in processes:
            descriptor = process.watch()
            if descriptor is not None:
                self._processes[descriptor] = process
                self._selector.register(descriptor, selectors.EVENT_READ, process)

    def take_ended(self) -> list[tuple[Process, int | None]]:
        """Those of the processes that have ended since the last call, each with its exit code where that is known."""
        ended, self._ended = self._ended, []
        return ended

    def wait(self, timeout: float) -> list[tuple[Mapping[str, Any], Asker]]:
        """Wait for anything, `timeout` seconds at most; the requests that came."""
        requests: list[tuple[Mapping[str, Any], Asker]] = []
        for key, _ in self._selector.select(timeout):
            if key.fileobj == self._read:
                with contextlib.suppress(BlockingIOError):
                    while os.read(self._read, 4096):
                        pass
            elif isinstance(key.data, Process):
                self._selector.unregister(key.fd)
                self._ended.append((key.data, exit_code(key.data, key.fd)))
                os.close(key.fd)
                del self._processes[key.fd]
            else:
                requests += key.data.ready(key.fileobj)
        return requests
