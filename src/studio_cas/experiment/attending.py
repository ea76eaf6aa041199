"""The runner's side of its sync daemon: starts it, starts another where it dies, and asks it for the last captures."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from studio_cas.errors import LocalIOError, NotFoundError, StudioError
from studio_cas.sync import spec
from studio_cas.sync.control import DaemonGoneError, NobodyThereError, ask
from studio_cas.sync.processes import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from studio_cas.sync.journal import DaemonFolder
    from studio_cas.sync.spec import DaemonSpec

STARTS = 4  # of daemons in one run, before we believe that none will live
LAST_WORDS = 2.0  # seconds for what it said to be heard, when it has ended
CONNECT_PAUSE = 0.01  # seconds between two tries to reach a daemon that is starting


class Attending:
    """A daemon, and those that follow it when it dies. `say` is called in a thread of ours too.

    `close` lets go of one that was never told what to do.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._stop: Callable[[str], None] = say
        self._lock = threading.Lock()
        self._folder: DaemonFolder | None = None
        self._starts = 0
        self._over = False
        self._script: Process | None = None
        self._ends: list[int] = []
        self._listener = threading.Thread(target=self._listen, name="daemon", daemon=True)
        self._daemon = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        """In a session of its own: what the terminal does to us does not reach it."""
        self._starts += 1
        try:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "studio_cas.experiment.attendant"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise LocalIOError(f"the sync daemon cannot be started: {error.strerror}") from error

    def announce(self, asked: DaemonSpec) -> None:
        """The run has a record: where we are killed from now on, the daemon says so in it, as `asked`."""
        self._write(b"announce", spec.encode(asked), last=False)

    def instruct(self, folder: DaemonFolder, stop: Callable[[str], None]) -> None:
        """Say what to do; from now on a daemon that dies is followed by another.

        `stop` is called, in a thread of ours, with the name of somebody who asks the run to stop.
        """
        self._folder, self._stop = folder, stop
        self._hand_over()
        self._listener.start()

    def _hand_over(self) -> None:
        if self._folder is not None:
            self._write(b"begin", os.fsencode(self._folder.folder), last=True)

    def _write(self, word: bytes, argument: bytes, *, last: bool) -> None:
        """A line into the daemon's stdin."""
        stdin = self._daemon.stdin
        with contextlib.suppress(BrokenPipeError):  # it died already: that is seen by whoever asks it next
            if stdin is not None and not stdin.closed:
                stdin.write(word + b" " + argument.hex().encode() + b"\n")
                stdin.flush()
                if last:
                    stdin.close()

    def close(self) -> None:
        """The run is over, whether a daemon was needed or not."""
        self._over = True
        for end in self._ends:
            os.close(end)
        self._ends = []
        if self._folder is None:
            self._write(b"over", b"", last=True)
            self._daemon.wait()

    # --- asking -----------------------------------------------------------------------------------------------------

    def attend(self, pid: int, ends: Sequence[int]) -> None:
        """The script runs: the daemon lives as long as it, and gets copies of the `ends` of its output."""
        with contextlib.suppress(NotFoundError):  # it has ended already
            self._script = Process.find(pid)
        self._ends = [os.dup(end) for end in ends]
        threading.Thread(target=self._tell_of_script, name="attend", daemon=True).start()

    def _tell_of_script(self) -> None:
        if self._script is not None and not self._over:
            request = {"ask": "attend", "pid": self._script.pid, "started": self._script.started}
            with contextlib.suppress(DaemonGoneError, StudioError, OSError):
                self._ask(request, files=self._ends)

    def hurry(self) -> None:
        """Somebody wants us to end: capture what there is, the small things first. Does not wait."""

        def run() -> None:
            with contextlib.suppress(DaemonGoneError, StudioError):
                self._ask({"ask": "hurry"})

        threading.Thread(target=run, name="hurry", daemon=True).start()

    def finish(self, end: Mapping[str, Any], progress: Callable[[Mapping[str, Any]], None]) -> Mapping[str, Any] | None:
        """Tell how the script ended, and wait for the last captures: what the daemon says of them.

        None where no daemon could be kept alive to make them.
        """
        while True:
            with contextlib.suppress(DaemonGoneError):
                answer = self._ask({"ask": "finish", **end}, progress=progress)
                self._over = True
                self._listener.join(LAST_WORDS)
                return answer
            if not self._follow():
                return None

    def quit(self) -> None:
        """Nobody waits any longer: the journal remembers what is left to do."""
        self._over = True
        if self._folder is not None:
            with contextlib.suppress(DaemonGoneError, StudioError):
                ask(self._folder.control, {"ask": "quit"}, timeout=1.0)
        else:
            self._write(b"over", b"", last=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._daemon.wait(1.0)
        self._daemon.kill()

    def _ask(self, request: Mapping[str, Any], **options: Any) -> Mapping[str, Any]:
        """Ask the daemon, which may still be starting. Raises DaemonGoneError where it is dead."""
        if self._folder is None:
            raise DaemonGoneError
        while True:
            try:
                return ask(self._folder.control, request, **options)
            except NobodyThereError:
                if self._daemon.poll() is not None:
                    raise
                time.sleep(CONNECT_PAUSE)

    # --- keeping one alive ------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """In a thread: hear what the daemon has to say; when it dies, start another."""
        while not self._over:
            with contextlib.suppress(DaemonGoneError, StudioError):
                self._ask({"ask": "listen"}, progress=self._hear)
                return  # it has ended as it should
            if not self._follow():
                return

    def _hear(self, news: Mapping[str, Any]) -> None:
        if "say" in news:
            self._say(str(news["say"]))
        elif "stop" in news:
            self._stop(str(news["stop"]))

    def _follow(self) -> bool:
        """Start another daemon where the last one is dead. False where none will live."""
        with self._lock:
            if self._daemon.poll() is None:
                time.sleep(CONNECT_PAUSE)
                return True
            if self._starts >= STARTS:
                return False
            self._say(f"the sync daemon died ({self._daemon.returncode}): another one goes on")
            self._daemon = self._start()
            self._hand_over()
        self._tell_of_script()
        return True
