"""The captures of a run: once at its start, all along beside the script, and at its end. They never overlap."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio_cas.errors import StudioError
from studio_cas.experiment.artifacts import OPTIONAL, OUTPUT, WORKSPACE, exclusion_of, is_empty
from studio_cas.experiment.workspace import LARGE, survey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from studio_cas.config import Config
    from studio_cas.experiment.artifacts import Captured, Exclusion
    from studio_cas.progress import Progress
    from studio_cas.store.store import Store
    from studio_cas.worktree.capture import CaptureResult

FIRST_PAUSE = 5.0  # seconds from the start to the first cycle: a short script is captured once, at its end
FINAL_TRIES = 3
FINAL_PAUSE = 1.0  # seconds before a final capture is tried again
NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the last capture of an artifact: a result, or the sentence that says why there is none."""

    artifact: Captured
    result: CaptureResult | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """What a run captures. `workspace_all`: the workspace with what it leaves out otherwise."""

    experiment: str
    captured: tuple[Captured, ...]
    workspace_all: bool = False


class Captures:
    """Captures the artifacts of one run, one at a time, whoever asks."""

    def __init__(self, store: Store, config: Config, plan: CapturePlan, say: Callable[[str], None]) -> None:
        self._store = store
        self._config = config
        self._experiment = plan.experiment
        self._captured = plan.captured
        self._workspace_all = plan.workspace_all
        self._say = say
        self._reported: set[str] = set()
        self.versions: dict[str, tuple[int, int]] = {}  # tag: the version of its first state, and of its last

    def mutable(self) -> list[Captured]:
        """The artifacts that are captured all along: what was asked for first, the workspace last."""
        rank = {WORKSPACE: 2, **dict.fromkeys(OPTIONAL, 1), OUTPUT: 0}
        return sorted(
            (art for art in self._captured if not art.once), key=lambda art: rank.get(art.tag, 0) * art.default
        )

    def capture_once(self, progress: Progress | None) -> list[Outcome]:
        """Capture what the script reads, before it starts. Raises StudioError."""
        return [
            Outcome(artifact, self._capture(artifact, progress, final=True))
            for artifact in self._captured
            if artifact.once
        ]

    def prepare(self) -> None:
        """What can be done before the first capture, beside the script: imports, and a look at the workspace's size."""
        import studio_cas.worktree.capture  # noqa: F401  # takes longer than a small capture

        for artifact in self.mutable():
            if artifact.tag == WORKSPACE and artifact.default:
                self._warn_of_size(artifact.path, self._exclusion_of(artifact))

    def capture_all(self) -> None:
        """Capture every mutable artifact, and say once what keeps one from being captured."""
        for artifact in self.mutable():
            if is_empty(artifact.path):
                continue
            problem = self._try(artifact, None, final=False).problem
            if problem is None:
                self._reported.discard(artifact.tag)
            elif artifact.tag not in self._reported:
                self._reported.add(artifact.tag)
                self._say(f"{artifact.tag} could not be captured, and is tried again later: {problem}")

    def capture_final(self, progress: Callable[[], Progress], tries: int = FINAL_TRIES) -> list[Outcome]:
        """Capture every mutable artifact for the last time; patiently."""
        return [
            self._capture_final(artifact, progress(), tries)
            for artifact in self.mutable()
            if not (artifact.default and artifact.tag in OPTIONAL and is_empty(artifact.path))
        ]

    def _capture_final(self, artifact: Captured, progress: Progress | None, tries: int) -> Outcome:
        outcome = self._try(artifact, progress, final=True)
        for _ in range(tries - 1):
            if outcome.result is not None and not outcome.result.stale:
                break
            time.sleep(FINAL_PAUSE)  # a process that still writes, a store that is away for a moment
            outcome = self._try(artifact, progress, final=True)
        return outcome

    def _try(self, artifact: Captured, progress: Progress | None, *, final: bool) -> Outcome:
        try:
            return Outcome(artifact, self._capture(artifact, progress, final=final))
        except Exception as error:  # noqa: BLE001  # whatever it is, the other artifacts must not be lost by it
            return Outcome(artifact, None, _told(error))

    def _capture(self, artifact: Captured, progress: Progress | None, *, final: bool) -> CaptureResult:
        from studio_cas.worktree.capture import capture

        exclusion = self._exclusion_of(artifact)
        result = capture(
            self._store,
            artifact.path,
            self._experiment,
            artifact.tag,
            final=final,
            exclude=exclusion.folders,
            ignore=exclusion.patterns,
            progress=progress,
            user=self._config.user,
            compression=self._config.compression,
        )
        first, _ = self.versions.get(artifact.tag, (result.version.number, 0))
        self.versions[artifact.tag] = (first, result.version.number)
        return result

    def _exclusion_of(self, artifact: Captured) -> Exclusion:
        store, home = self._config.storage.folder, self._config.home
        return exclusion_of(artifact, self._captured, store, home, whole=self._workspace_all)

    def _warn_of_size(self, root: Path, exclusion: Exclusion) -> None:
        found = survey(root, exclusion.patterns, exclusion.folders)
        if found.size > LARGE:
            largest = ", ".join(f"{name} ({_gibibytes(size)})" for name, size in found.largest)
            least = "" if found.complete else "at least "
            self._say(
                f"warning: the workspace {root} holds {least}{_gibibytes(found.size)}, and all of it is captured; "
                f"the largest: {largest}; name what is not needed in .studioml_ignore, or run with --no-workspace"
            )


def _told(error: Exception) -> str:
    if isinstance(error, StudioError | OSError):
        return str(error)
    if os.environ.get("STUDIO_TRACEBACK") == "1":
        import traceback

        traceback.print_exception(error)
    return f"unexpected {type(error).__name__}: {error}; this is a fault of studio, STUDIO_TRACEBACK=1 shows where"


def _gibibytes(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size / (1 << 20):.0f} MiB"


class PeriodicCaptures:
    """A thread that captures once a period, as long as the script runs; for the first time soon after its start."""

    def __init__(self, captures: Captures, beat: Callable[[], None], period: float, say: Callable[[str], None]) -> None:
        self._captures = captures
        self._beat = beat
        self._period = period
        self._say = say
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="captures", daemon=True)

    def start(self) -> None:
        """Begin; the first cycle comes soon."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no further cycle, and wait for the one that is going on."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        self._attempt(self._captures.prepare)
        pause = min(self._period, FIRST_PAUSE)
        while not self._stop.wait(pause):
            began = time.monotonic()
            self._attempt(self._beat)
            self._attempt(self._captures.capture_all)
            pause = max(0.0, began + self._period - time.monotonic())

    def _attempt(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  # the thread's edge: the run goes on, the next cycle tries again
            self._say(f"a capture failed, and is tried again later: {_told(error)}")
