"""One attempt while it goes on: the script, the captures before, beside and after it, and its records."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from studio_cas.errors import IncompleteError, StudioError
from studio_cas.experiment import artifacts, records
from studio_cas.experiment.artifacts import OUTPUT, Captured
from studio_cas.experiment.captures import CapturePlan, Captures, PeriodicCaptures
from studio_cas.experiment.fs_tracker import child_environment
from studio_cas.experiment.lifecycle import ending
from studio_cas.experiment.request import RunResult
from studio_cas.formats.experiment import Ended

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from studio_cas.config import Config
    from studio_cas.experiment.captures import Outcome
    from studio_cas.experiment.lifecycle import Status
    from studio_cas.experiment.process import Script
    from studio_cas.experiment.request import RunRequest, Voice
    from studio_cas.formats.experiment import Created
    from studio_cas.store.store import Store

BEAT = 30.0  # seconds between two heartbeats, at least


@dataclass
class RunningAttempt:
    """One attempt while it goes on. `run` is called once."""

    store: Store
    config: Config
    request: RunRequest
    voice: Voice
    created: Created
    captured: list[Captured]
    _problems: list[str] = field(default_factory=list)
    _beats: int = 0
    _last_beat: float = 0.0
    _exit_code: int | None = None
    _script: Script | None = None
    _stop_seen: bool = False

    def __post_init__(self) -> None:
        self._output = self._place_output({one.tag for one in self.created.artifacts})
        if self._output is not None:
            self.captured = [Captured(OUTPUT, self._output, default=True), *self.captured]
        plan = CapturePlan(self.created.experiment, tuple(self.captured), self.request.workspace_all)
        self._captures = Captures(self.store, self.config, plan, self.voice.say)

    def _place_output(self, tags: set[str]) -> Path | None:
        """The file for what the script prints, None where nobody wants it or another artifact has its tag."""
        if OUTPUT not in self.request.defaults or OUTPUT in tags:
            return None
        return artifacts.output_file(self.config.home, self.created.experiment, self.created.attempt)

    def run(self) -> RunResult:
        """The attempt, with every record it leaves; `ended` comes last, whatever happens."""
        created = self.created
        number = f", attempt {created.attempt}" if created.attempt > 1 else ""
        self.voice.say(f"experiment {created.experiment}{number}")
        try:
            outcomes = self._go()
        except StudioError as error:
            self._problems.append(str(error))
            raise
        except KeyboardInterrupt:
            places = ", ".join(f"{one.tag} in {one.path}" for one in self._captures.mutable())
            self._problems.append(f"interrupted before everything was captured; the files are still in place: {places}")
            self.voice.say(self._problems[-1])
            raise
        finally:
            status = ending(
                self._exit_code, stop_asked=self._stop_seen or bool(self._script and self._script.stop_asked)
            )
            self._write_ended(status)
        code = self._exit_code or (IncompleteError.exit_code if self._problems else 0)
        return RunResult(created.experiment, created.attempt, status, code, tuple(outcomes), tuple(self._problems))

    def _go(self) -> list[Outcome]:
        from studio_cas.experiment.output import Recorder, open_channels
        from studio_cas.experiment.process import Script

        for folder in artifacts.make_folders(one for one in self.captured if one.path != self._output):
            if not folder.is_relative_to(self.config.home):
                self.voice.say(f"made the folder {folder}")
        outcomes = self._captures.capture_once(self.voice.progress())
        recorder = channels = None
        if self._output is not None:
            channels = open_channels()
            self._output.parent.mkdir(parents=True, exist_ok=True)
            recorder = Recorder(channels, self._output)
        request = self.request
        with Script(request.command, request.folder, self._environment(), channels, self.voice.say) as script:
            if recorder is not None:
                recorder.start()
            self._script = script
            self._attend(script.pid, script.wait)
            if recorder is not None:
                recorder.finish()
                self._problems += [recorder.problem] if recorder.problem else []
            return outcomes + self._capture_final()

    def _environment(self) -> dict[str, str]:
        """The environment of the script."""
        reused = {one.tag: one.path for one in self.created.artifacts if one.reuse is not None}
        mapping = {one.tag: str(one.path) for one in self.captured} | reused
        variables = child_environment(self.config.home, self.created.experiment, mapping)
        unbuffered = {"PYTHONUNBUFFERED": "1"} if self._output is not None else {}  # shown and kept as it is printed
        return {**unbuffered, **os.environ, **variables}

    def _attend(self, pid: int, wait: Callable[[], int]) -> None:
        """Wait for the script, and do beside it what it need not wait for."""
        began = self._last_beat = time.time()
        started = threading.Thread(target=self._write_started, args=(pid, began), name="environment", daemon=True)
        period = self.config.save_workspace_frequency
        periodic = PeriodicCaptures(self._captures, self._beat, period, self.voice.say)
        started.start()
        periodic.start()
        self._exit_code = wait()
        periodic.stop()
        started.join()

    def _beat(self) -> None:
        """Say that the run is alive; the record `started` said so first. And look whether it shall stop."""
        now = time.time()
        if now - self._last_beat >= BEAT:
            self._beats, self._last_beat = self._beats + 1, now
            with contextlib.suppress(StudioError):  # what is wrong with the store is told by the captures
                records.write_heartbeat(self.store.backend, self.created, self._beats, now)
        with contextlib.suppress(StudioError):
            self._heed_stop()

    def _heed_stop(self) -> None:
        """Pass on what `studio runs stop` asks for, once."""
        stop = None if self._stop_seen else records.stop_requested(self.store.backend, self.created)
        if stop is not None and self._script is not None:
            self._stop_seen = True
            self.voice.say(f"{stop.user} on {stop.host} asks the run to stop: interrupt passed on to the script")
            self._script.stop()

    def _write_started(self, pid: int, began: float) -> None:
        from studio_cas.experiment.environment import gather

        try:
            started = gather(self.request.python, self.request.folder, pid, began)
            records.write_started(self.store.backend, self.created, started)
        except (StudioError, OSError) as error:
            self.voice.say(f"the start of the run could not be recorded: {error}")

    def _write_ended(self, status: Status) -> None:
        usage = self._script.usage if self._script else None
        ended = Ended(time.time(), status, self._exit_code, tuple(self._problems), usage, dict(self._captures.versions))
        try:
            records.write_ended(self.store.backend, self.created, ended)
        except StudioError as error:
            self.voice.say(f"the end of the run could not be recorded: {error}")

    def _capture_final(self) -> list[Outcome]:
        outcomes = self._captures.capture_final(self.voice.progress)
        for outcome in outcomes:
            if outcome.problem is not None:
                path, name = outcome.artifact.path, f"{self.created.experiment}/{outcome.artifact.tag}"
                problem = f"{outcome.artifact.tag} was not captured: {outcome.problem}"
                if os.path.lexists(path):
                    problem += f"; it is still in {path}; when that is mended: studio push {path} {name}"
                self._problems.append(problem)
        return outcomes
