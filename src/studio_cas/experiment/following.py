"""What a run has printed, as it stands in the store or in the file on this machine, and what it prints from now on."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from studio_cas.errors import NotFoundError, UsageError
from studio_cas.experiment.artifacts import OUTPUT, output_file
from studio_cas.experiment.states import last_state
from studio_cas.experiment.stopping import script_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from studio_cas.experiment.lifecycle import Attempt
    from studio_cas.formats.version import Version
    from studio_cas.store.store import Store

WINDOW = 1 << 18  # bytes that are looked through at once for the last lines
CLOCKS = 5.0  # seconds by which the clocks of the runner and of who captures may differ


class Output(Protocol):
    """Bytes that only become more."""

    def size(self) -> int:
        """How many there are now."""
        ...

    def read(self, start: int) -> Iterator[bytes]:
        """Those from `start` on, of what `size` last told at least."""
        ...


@dataclass
class LocalOutput:
    """The file into which the runner writes, while it runs on this machine."""

    file: Path

    def size(self) -> int:
        """Bytes in the file; 0 where there is none yet."""
        with suppress(FileNotFoundError):
            return self.file.stat().st_size
        return 0

    def read(self, start: int) -> Iterator[bytes]:
        """The file from `start` on."""
        with suppress(FileNotFoundError), self.file.open("rb") as file:
            file.seek(start)
            while piece := file.read(WINDOW):
                yield piece


class StoredOutput:
    """The newest version of the artifact `output` that belongs to an attempt; only chunks that are asked for come."""

    def __init__(self, store: Store, look: Callable[[], Attempt], next_created: float | None) -> None:
        self._store = store
        self._look = look
        self._next_created = next_created
        self._version: Version | None = None

    def size(self) -> int:
        """Bytes in the newest version; 0 where there is none yet. Raises UsageError where `output` is a folder."""
        from studio_cas.store import versions

        attempt = self._look()
        number = last_state(self._store, OUTPUT, attempt, self._next_created)
        if number is None:
            return 0
        if self._version is None or self._version.number != number:
            found = versions.read(self._store, attempt.created.experiment, OUTPUT, number)
            if not found.is_file:
                raise UsageError(f"{found.name} is a folder that was captured under this name: studio ls {found.name}")
            if _is_older(found, attempt):
                return 0
            self._version = found
        return self._version.size

    def read(self, start: int) -> Iterator[bytes]:
        """The version from `start` on."""
        from studio_cas.worktree.listing import read_file

        if self._version is not None and start < self._version.size:
            yield from read_file(self._store, self._version, b"", start)


def _is_older(found: Version, attempt: Attempt) -> bool:
    """Whether a version is of an earlier attempt: this one has none yet. At the end of a run its record tells."""
    if attempt.ended is not None and OUTPUT in attempt.ended.versions:
        return False
    began = attempt.started.time if attempt.started else attempt.created.time
    return found.time < began - CLOCKS


def find_output(
    store: Store, home: Path, attempt: Attempt, look: Callable[[], Attempt], next_created: float | None
) -> Output:
    """Where the output of `attempt` is read best: the file, where the run goes on here; else the store."""
    created = attempt.created
    file = output_file(home, created.experiment, created.attempt)
    if script_here(attempt) is not None and file.exists():
        return LocalOutput(file)
    return StoredOutput(store, look, next_created)


def check_captured(attempt: Attempt) -> None:
    """Raise NotFoundError where the run keeps no output."""
    created = attempt.created
    if OUTPUT not in created.defaults and all(artifact.tag != OUTPUT for artifact in created.artifacts):
        raise NotFoundError(f"{created.experiment}@{created.attempt} was run with --no-output: what it printed is lost")


def last_lines(output: Output, size: int, lines: int) -> int:
    """Where the last `lines` lines of the first `size` bytes begin; a line may lack its end."""
    if lines <= 0:
        return size
    end, left = size, lines
    while end > 0:
        start = max(0, end - WINDOW)
        window = _exactly(output, start, end)
        searched = len(window)
        if end == size and window.endswith(b"\n"):
            searched -= 1  # it ends the last line, and begins none
        while (searched := window.rfind(b"\n", 0, searched)) >= 0:
            left -= 1
            if not left:
                return start + searched + 1
        end = start
    return 0


def _exactly(output: Output, start: int, end: int) -> bytes:
    found = bytearray()
    for piece in output.read(start):
        found += piece
        if len(found) >= end - start:
            break
    return bytes(found[: end - start])


def follow(output: Output, start: int, is_over: Callable[[], bool], wait: Callable[[], None]) -> Iterator[bytes]:
    """The bytes from `start` on, as they come; ends with what is there once `is_over` has said so."""
    position = start
    while True:
        over = is_over()  # asked before: what came until then is read
        if output.size() > position:
            for piece in output.read(position):
                position += len(piece)
                yield piece
        if over:
            return
        wait()
