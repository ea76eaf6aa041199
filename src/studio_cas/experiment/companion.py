"""The run's part of its sync daemon: heartbeats, requests to stop, and the record of the end, whoever is still alive.

The daemon is told by the runner how the script ended. Where the runner was killed, the daemon has copies of the ends of
the script's output, which it then goes on to record, and it asks the system how the script ended.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio_cas.errors import StudioError
from studio_cas.experiment import records, workspace
from studio_cas.experiment.artifacts import WORKSPACE, Captured, exclusion_of
from studio_cas.experiment.lifecycle import ending
from studio_cas.formats import experiment as formats
from studio_cas.formats.experiment import Ended, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from studio_cas.experiment.output import Recorder
    from studio_cas.formats.experiment import Created
    from studio_cas.store.store import Store
    from studio_cas.sync.control import Asker
    from studio_cas.sync.journal import DaemonFolder
    from studio_cas.sync.processes import Process
    from studio_cas.sync.spec import DaemonSpec, Pair

BEAT = 25.0  # seconds between two heartbeats, at least; it is looked at every 30, or more often
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class RunPart:
    """What a run's daemon is told in its spec. `once`: tag to (first, last) version of what was captured once.

    `begun` is False before the runner is ready to start the script: nothing is captured then, and where the runner is
    killed that is what has to be recorded.
    """

    created: Created
    captured: tuple[Captured, ...]
    output: Path | None
    runner: int
    once: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    begun: bool = True

    def encode(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "created": formats.encode(self.created).decode(),
            "captured": [{**asdict(one), "path": str(one.path)} for one in self.captured],
            "output": str(self.output) if self.output else None,
            "runner": self.runner,
            "once": {tag: list(span) for tag, span in self.once.items()},
            "begun": self.begun,
        }


def decode_part(row: Mapping[str, Any]) -> RunPart:
    """Raises CorruptError where the created record is none."""
    return RunPart(
        formats.decode_created(row["created"].encode()),
        tuple(Captured(**{**one, "path": Path(one["path"])}) for one in row["captured"]),
        Path(row["output"]) if row["output"] else None,
        row["runner"],
        {tag: (first, last) for tag, (first, last) in row["once"].items()},
        row.get("begun", True),
    )


@dataclass(slots=True)
class ScriptEnd:
    """What is known of the end so far; kept in the journal, for one who goes on."""

    exit_code: int | None = None
    stop_asked: bool = False
    problems: list[str] = field(default_factory=list)
    usage: dict[str, Any] | None = None


class RunCompanion:
    """See the module. `folder` is the daemon's in the journal; `note` is told what nobody listens to."""

    def __init__(
        self,
        folder: DaemonFolder,
        spec: DaemonSpec,
        note: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._spec = spec
        self._note = note
        self.part = decode_part(spec.run or {})
        self._listeners: list[Asker] = []
        self._said: list[str] = []  # before somebody listened
        self._script: int | None = None
        self._ends: list[int] = []
        self._recorder: Recorder | None = None
        self._last_beat = clock()
        self._beats: int | None = None
        self._stop_seen = self._runner_lost = self._surveyed = False
        self._end = ScriptEnd()
        with contextlib.suppress(OSError, ValueError, TypeError):
            self._end = ScriptEnd(**json.loads(self._end_file.read_bytes()))

    @property
    def _end_file(self) -> Path:
        return self._folder.folder / "end"

    def say(self, sentence: str) -> None:
        """Tell the runner, which tells the person."""
        self._note(sentence)
        if not self._listeners:
            self._said.append(sentence)
        for listener in self._listeners:
            listener.answer(say=sentence)

    # --- a Companion ------------------------------------------------------------------------------------------------

    def beat(self, store: Callable[[], Store]) -> None:
        """Say that the run is alive, and look whether it shall stop. The first time, see to the slow imports."""
        import studio_cas.worktree.capture  # noqa: F401  # takes longer than a small capture

        if not self._surveyed:
            self._surveyed = True
            self._warn_of_size()
        with contextlib.suppress(StudioError):  # what is wrong with the store is told by the captures
            backend, now = store().backend, self._clock()
            if now - self._last_beat >= BEAT:
                if self._beats is None:
                    self._beats = records.count_heartbeats(backend, self.part.created)
                self._beats, self._last_beat = self._beats + 1, now
                records.write_heartbeat(backend, self.part.created, self._beats, now)
            stop = None if self._stop_seen else records.stop_requested(backend, self.part.created)
            if stop is not None:
                self._stop_seen = True
                self._stop(f"{stop.user} on {stop.host}")

    def _warn_of_size(self) -> None:
        """Say so where the working folder is so large that it is probably a mistake."""
        for pair in self._spec.pairs:
            if pair.tag == WORKSPACE and self._default(pair) is not None:
                warning = workspace.warning_of_size(pair.path, pair.ignore, pair.exclude)
                if warning is not None:
                    self.say(warning)

    def _default(self, pair: Pair) -> Captured | None:
        """The artifact of the pair, where nobody asked for it by name."""
        return next((one for one in self.part.captured if one.tag == pair.tag and one.default), None)

    def _stop(self, who: str) -> None:
        for listener in self._listeners:
            listener.answer(stop=who)
        if self._runner_lost and self._script is not None:
            self._end.stop_asked = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._script, signal.SIGINT)

    def now(self, pair: Pair) -> Pair:
        """The pair without the environments that have come into the working folder."""
        artifact = self._default(pair) if pair.tag == WORKSPACE else None
        if artifact is None:
            return pair
        exclusion = exclusion_for(artifact, self.part, self._spec.storage.folder, self._spec.home)
        return dataclasses.replace(pair, exclude=exclusion[0], ignore=exclusion[1])

    def asked(self, request: Mapping[str, Any], asker: Asker) -> bool:
        """The runner listens, names its script, or tells of its end."""
        match request.get("ask"):
            case "listen":
                self._listeners.append(asker)
                for sentence in self._said:
                    asker.answer(say=sentence)
                self._said.clear()
                return True
            case "attend":
                self._script = int(request["pid"])
                for end in self._ends:
                    os.close(end)
                self._ends = asker.take_files()
            case "finish":
                told = {name: request[name] for name in ("exit_code", "stop_asked", "problems", "usage")}
                self._end = ScriptEnd(**told)
                self._remember()
        return False

    def _remember(self) -> None:
        with contextlib.suppress(OSError):
            self._end_file.write_text(json.dumps(asdict(self._end)))

    def lost(self, process: Process, code: int | None) -> None:
        """The runner was killed: record what the script prints. Or the script has ended, and nobody else tells how."""
        if process.pid == self.part.runner:
            self._runner_lost = True
            if self.part.begun:
                self._end.problems.append("studio run was killed; the captures went on without it")
            if self._ends and self.part.output is not None:
                from studio_cas.experiment.output import Recorder, inherited_channels

                self._recorder = Recorder(inherited_channels(self._ends), self.part.output, again=True)
                self._recorder.start()
                self._ends = []
        elif code is not None and self._end.exit_code is None:
            self._end.exit_code = code if code >= 0 else 128 - code
            self._end.stop_asked |= -code in STOPPING
        if process.pid == self._script and self._recorder is not None:
            self._recorder.finish()
            self._recorder = None
        self._remember()

    def end(self, store: Callable[[], Store], outcomes: Sequence[Mapping[str, Any]]) -> bool:
        """Record the end; False where the store cannot be reached: `studio sync --resume` does it then."""
        told = self._end
        if not self.part.begun:
            told.problems.append("studio run was killed before the script began")
        elif told.exit_code is None:
            told.problems.append("how the script ended is not known: studio run did not live to see it")
        problems = [*told.problems, *(sentence for one in outcomes if (sentence := problem_of(one, self.part)))]
        versions = {one["tag"]: (one["first"] or one["version"], one["version"]) for one in outcomes if one["version"]}
        ended = Ended(
            self._clock(),
            ending(told.exit_code, stop_asked=told.stop_asked or self._stop_seen),
            told.exit_code,
            tuple(problems),
            Usage(**told.usage) if told.usage else None,
            {**self.part.once, **versions},
        )
        try:
            records.write_ended(store().backend, self.part.created, ended)
        except StudioError as error:
            self.say(f"the end of the run could not be recorded: {error}; studio sync --resume does it later")
            return False
        finally:
            for listener in self._listeners:
                listener.answer(done=True)
                listener.close()
        return True


def problem_of(outcome: Mapping[str, Any], part: RunPart) -> str | None:
    """Why an artifact was not captured in the end, and where it still is; None where it was."""
    if outcome["problem"] is None:
        return None
    path, name = outcome["path"], f"{part.created.experiment}/{outcome['tag']}"
    problem = f"{outcome['tag']} was not captured: {outcome['problem']}"
    if os.path.lexists(path):
        problem += f"; it is still in {path}; when that is mended: studio push {path} {name}"
    return problem


def exclusion_for(
    artifact: Captured, part: RunPart, store: Path | None, home: Path
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The folders and the patterns that a capture of `artifact` leaves out now."""
    found = exclusion_of(artifact, part.captured, store, home, whole=part.created.workspace_all)
    return found.folders, found.patterns
