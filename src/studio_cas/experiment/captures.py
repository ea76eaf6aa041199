"""The captures of a run: once at its start by the runner; all along, and at the end, by a daemon that is told how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio_cas.experiment.artifacts import OPTIONAL, OUTPUT, WORKSPACE, exclusion_of
from studio_cas.experiment.companion import exclusion_for
from studio_cas.sync.processes import Process
from studio_cas.sync.spec import Pair, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from studio_cas.config import Config
    from studio_cas.experiment.artifacts import Captured
    from studio_cas.experiment.companion import RunPart
    from studio_cas.formats.experiment import Created
    from studio_cas.progress import Progress
    from studio_cas.store.store import Store
    from studio_cas.sync.spec import DaemonSpec
    from studio_cas.worktree.capture import CaptureResult

FIRST_PAUSE = 5.0  # seconds from the start to the first cycle: a short script is captured once, at its end


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the last capture of an artifact; `number` is None where it has no version."""

    artifact: Captured
    number: int | None
    files: int = 0
    size: int = 0
    stale: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


def outcomes_of(rows: Sequence[Mapping[str, Any]], captured: Sequence[Captured]) -> list[Outcome]:
    """What a daemon says of its last captures. Those that nobody asked for, and nobody used, are left out."""
    artifacts = {one.tag: one for one in captured}
    return [
        Outcome(
            artifacts[row["tag"]],
            row["version"] if row["problem"] is None else None,
            row["files"],
            row["size"],
            tuple(row["stale"]),
            tuple(row["skipped"]),
        )
        for row in rows
        if row["version"] is not None or row["problem"] is not None
    ]


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """What a run captures, and the record that says so."""

    created: Created
    captured: tuple[Captured, ...]


class Captures:
    """The captures of one run."""

    def __init__(self, store: Store, config: Config, plan: CapturePlan, say: Callable[[str], None]) -> None:
        self._store = store
        self._config = config
        self._created = plan.created
        self._captured = plan.captured
        self._say = say
        self.versions: dict[str, tuple[int, int]] = {}  # of what was captured once: its version, as first and as last

    def mutable(self) -> list[Captured]:
        """The artifacts that are captured all along: what was asked for first, the workspace last."""
        rank = {WORKSPACE: 2, **dict.fromkeys(OPTIONAL, 1), OUTPUT: 0}
        return sorted(
            (art for art in self._captured if not art.once), key=lambda art: rank.get(art.tag, 0) * art.default
        )

    def capture_once(self, progress: Progress | None) -> list[Outcome]:
        """Capture what the script reads, before it starts. Raises StudioError."""
        return [self._capture_once(artifact, progress) for artifact in self._captured if artifact.once]

    def _capture_once(self, artifact: Captured, progress: Progress | None) -> Outcome:
        result = self._capture(artifact, progress)
        version = result.version
        self.versions[artifact.tag] = version.number, version.number
        return Outcome(artifact, version.number, version.files, version.size, result.stale, result.skipped)

    def _capture(self, artifact: Captured, progress: Progress | None) -> CaptureResult:
        from studio_cas.worktree.capture import capture

        store, home = self._config.storage.folder, self._config.home
        exclusion = exclusion_of(artifact, self._captured, store, home, whole=self._created.workspace_all)
        return capture(
            self._store,
            artifact.path,
            self._created.experiment,
            artifact.tag,
            final=True,
            exclude=exclusion.folders,
            ignore=exclusion.patterns,
            progress=progress,
            user=self._config.user,
            compression=self._config.compression,
        )

    def daemon_spec(self, part: RunPart) -> DaemonSpec:
        """What the daemon of this run is asked to do: it lives as long as this process, and the script."""
        pairs = tuple(self._pair(artifact, part) for artifact in self.mutable()) if part.begun else ()
        until = (Process.find(part.runner),)
        return spec_of(self._config, pairs, first=FIRST_PAUSE, until=until, run=part.encode())

    def _pair(self, artifact: Captured, part: RunPart) -> Pair:
        exclude, ignore = exclusion_for(artifact, part, self._config.storage.folder, self._config.home)
        optional = artifact.default and artifact.tag in OPTIONAL
        return Pair(artifact.path, self._created.experiment, artifact.tag, exclude, ignore, optional)
