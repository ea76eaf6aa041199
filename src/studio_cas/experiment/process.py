"""A script as a child process: started, told of signals, waited for.

The script has a process group of its own, so a Ctrl-C at the terminal reaches us alone and we pass it on exactly once,
as with a signal from `kill`. The group is therefore in the background of the terminal; where the script reads from the
terminal (a debugger, a prompt) the system stops it, and it is then given the foreground, as a shell's `fg` does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from studio_cas.errors import LocalIOError, UsageError
from studio_cas.formats.experiment import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import FrameType
    from typing import Any, Self, TypeAlias

    from studio_cas.experiment.output import Channels

    Handler: TypeAlias = Callable[[int, FrameType | None], Any] | int | None

GIVE_UP = 3  # presses of Ctrl-C in one run after which nothing is waited for
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Script:
    """A running script. Use as a context manager in the main thread: signals are ours while it is open.

    Asked to stop, it has `grace` seconds before it is killed; `on_stop` is called when a signal other than Ctrl-C asks.

    It stays open while the last captures are made, so that a Ctrl-C does not end them by accident.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        channels: Channels | None,
        say: Callable[[str], None],
        *,
        grace: float = 30.0,
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        self.stop_asked = False
        self.exit_code: int | None = None  # 128 + n where signal n killed it; None before its end
        self.usage: Usage | None = None  # what the script and the processes it waited for took; None before its end
        self._began = 0.0
        self._command = command
        self._folder = folder
        self._environment = environment
        self._channels = channels
        self._say = say
        self._grace = grace
        self._on_stop_asked = on_stop
        self._patience: threading.Timer | None = None
        self._interrupts = 0
        self._ended = False
        self._warned = False
        self._has_terminal = False
        self._previous: dict[int, Handler] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id, which is its group's id as well; 0 before the start."""
        return self._process.pid if self._process else 0

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._take_signals()
        try:
            self._began = time.monotonic()
            self._process = _spawn(self._command, self._folder, self._environment, self._channels)
        except BaseException:
            self._ended = True
            self._return_signals()
            raise
        if self._interrupts:  # it came while the script was being started
            self._send(signal.SIGINT if self._interrupts == 1 else signal.SIGKILL)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if not self._ended:
                self._send(signal.SIGKILL)
                self.wait()
        finally:
            self._return_signals()
            self._take_terminal_back()

    def wait(self) -> int:
        """Wait for the end: the exit code, 128 + n where signal n killed it.

        Raises KeyboardInterrupt, after the end, where nothing is to be waited for any more.
        """
        while True:
            _, status, taken = os.wait4(self.pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                break
            self._resume(os.WSTOPSIG(status))
        code = os.waitstatus_to_exitcode(status)
        self.exit_code = 128 - code if code < 0 else code
        self._ended = True
        if self._patience is not None:
            self._patience.cancel()
        self.usage = Usage(time.monotonic() - self._began, taken.ru_utime + taken.ru_stime, taken.ru_maxrss * 1024)
        if self._process is not None:
            self._process.returncode = code
        if -code in STOPPING:
            self.stop_asked = True
        if self._interrupts >= GIVE_UP:
            raise KeyboardInterrupt
        return self.exit_code

    def stop(self) -> None:
        """Do what one Ctrl-C does, unless that was done: a second one would hit a script that is saving.

        Where we were told to ignore Ctrl-C, as in the background of a shell script, so was the script: SIGTERM then.
        """
        if not self._ended and not self.stop_asked:
            self.stop_asked = True
            ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            self._send(signal.SIGTERM if ignored else signal.SIGINT)
            self._begin_grace()

    def _begin_grace(self) -> None:
        """From now on the script has so long to save what it wants to save."""
        if self._patience is None:
            self._patience = threading.Timer(self._grace, self._lose_patience)
            self._patience.daemon = True
            self._patience.start()

    def _lose_patience(self) -> None:
        if not self._ended:
            self._say(f"the script did not end within {self._grace:g} s of being asked to: it is killed")
            self._send(signal.SIGKILL)

    def _take_signals(self) -> None:
        handlers = {
            signal.SIGINT: self._on_interrupt,
            signal.SIGTERM: self._on_stop,
            signal.SIGHUP: self._on_stop,
            signal.SIGTSTP: self._on_suspend,
            signal.SIGWINCH: self._on_resize,
        }
        for number, handler in handlers.items():
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup and shells ignore some on purpose
                self._previous[number] = signal.signal(number, handler)

    def _return_signals(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupts += 1
        if self._ended:
            self._interrupt_captures()
            return
        self.stop_asked = True
        if self._interrupts == 1:
            self._send(signal.SIGINT)
            grace = f"{self._grace:g} s to end"
            self._say(f"interrupt passed on to the script, which has {grace}; press Ctrl-C again to kill it")
            self._begin_grace()
        else:
            self._send(signal.SIGKILL)
            if self._interrupts < GIVE_UP:  # else the end of the script, which comes now, is the end of the wait
                self._say("script killed")

    def _interrupt_captures(self) -> None:
        """The script has ended, and its last captures are being made; they are given up at the second word."""
        if self._warned or self._interrupts >= GIVE_UP:
            raise KeyboardInterrupt
        self._warned = True
        self._say("the last captures are being made; press Ctrl-C again to go without them")

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        if self._ended:
            return
        self.stop_asked = True
        self._send(number)
        self._begin_grace()
        if self._on_stop_asked is not None:
            self._on_stop_asked()

    def _on_suspend(self, number: int, _frame: FrameType | None) -> None:
        self._send(number)  # the script's stop is seen by wait, and we stop as well

    def _on_resize(self, number: int, _frame: FrameType | None) -> None:
        if self._channels is not None:
            self._channels.copy_window_size()
        self._send(number)

    def _send(self, number: int) -> None:
        if self._ended or not self.pid:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _resume(self, number: int) -> None:
        """The script has been stopped: by wanting the terminal, or by somebody who wants the whole run to rest."""
        if number in {signal.SIGTTIN, signal.SIGTTOU} and not self._has_terminal:
            self._has_terminal = _give_terminal(self.pid)
            if not self._has_terminal:  # no terminal to give: we are in the background ourselves
                os.kill(os.getpid(), signal.SIGSTOP)
        else:
            gave = self._has_terminal
            self._take_terminal_back()
            os.kill(os.getpid(), signal.SIGSTOP)  # until somebody continues us
            self._has_terminal = gave and _give_terminal(self.pid)
        self._send(signal.SIGCONT)

    def _take_terminal_back(self) -> None:
        if self._has_terminal:
            self._has_terminal = False
            _give_terminal(os.getpgrp())


def _spawn(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], channels: Channels | None
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603  # running the user's own command is what this is for
            list(command),
            cwd=folder,
            env=dict(environment),
            stdout=channels.stdout.write if channels else None,
            stderr=channels.stderr.write if channels else None,
            process_group=0,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise UsageError(f"{command[0]} cannot be run: {error.strerror}") from error
    except OSError as error:
        raise LocalIOError(f"{command[0]} cannot be run: {error.strerror}") from error


def _give_terminal(group: int) -> bool:
    """Make `group` the foreground of our terminal; False where we have none, or it is not ours to give."""
    ours = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # else the system would stop us for this
    try:
        os.tcsetpgrp(0, group)
    except OSError:
        return False
    finally:
        signal.signal(signal.SIGTTOU, ours)
    return True
