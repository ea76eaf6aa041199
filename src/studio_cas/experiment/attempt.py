"""One attempt while it goes on: what is captured before the script, the daemon beside it, the script, and its end."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from studio_cas.backends.metered import Counts, count_also
from studio_cas.errors import IncompleteError, StudioError
from studio_cas.experiment import artifacts, records
from studio_cas.experiment.artifacts import OUTPUT, Captured
from studio_cas.experiment.captures import CapturePlan, Captures, outcomes_of
from studio_cas.experiment.companion import RunPart, problem_of
from studio_cas.experiment.fs_tracker import child_environment
from studio_cas.experiment.lifecycle import ending
from studio_cas.experiment.request import RunResult
from studio_cas.formats.experiment import Ended
from studio_cas.sync.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from studio_cas.config import Config
    from studio_cas.experiment.attending import Attending
    from studio_cas.experiment.captures import Outcome
    from studio_cas.experiment.process import Script
    from studio_cas.experiment.request import RunRequest, Voice
    from studio_cas.formats.experiment import Created
    from studio_cas.progress import Progress
    from studio_cas.store.store import Store


@dataclass
class RunningAttempt:
    """One attempt while it goes on. `run` is called once. `daemon` makes the captures beside and after the script."""

    store: Store
    config: Config
    request: RunRequest
    voice: Voice
    created: Created
    captured: list[Captured]
    daemon: Attending
    _problems: list[str] = field(default_factory=list)
    _script: Script | None = None
    _recorded: bool = False

    def __post_init__(self) -> None:
        self._output = self._place_output({one.tag for one in self.created.artifacts})
        if self._output is not None:
            self.captured = [Captured(OUTPUT, self._output, default=True), *self.captured]
        plan = CapturePlan(self.created, tuple(self.captured))
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
        self.daemon.announce(self._captures.daemon_spec(RunPart(created, (), None, os.getpid(), begun=False)))
        try:
            outcomes = self._go()
        except StudioError as error:
            self._problems.append(str(error))
            raise
        except KeyboardInterrupt:
            self.daemon.quit()
            self._problems.append("interrupted before everything was captured: studio sync --resume does it")
            self.voice.say(self._problems[-1])
            raise
        finally:
            if not self._recorded:
                self._write_ended()
        code = self._exit_code or (IncompleteError.exit_code if self._problems else 0)
        status = ending(self._exit_code, stop_asked=self._stop_asked)
        return RunResult(created.experiment, created.attempt, status, code, tuple(outcomes), tuple(self._problems))

    @property
    def _exit_code(self) -> int | None:
        return self._script.exit_code if self._script else None

    @property
    def _stop_asked(self) -> bool:
        return bool(self._script and self._script.stop_asked)

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
        self._instruct_daemon()
        request, grace = self.request, self.config.grace_period
        with Script(
            request.command,
            request.folder,
            self._environment(),
            channels,
            self.voice.say,
            grace=grace,
            on_stop=self.daemon.hurry,
        ) as script:
            self._script = script
            self.daemon.attend(script.pid, [channel.read for channel in channels.distinct()] if channels else [])
            if recorder is not None:
                recorder.start()
            try:
                self._attend(script.pid, script.wait)
            finally:  # what it printed is kept, also where its captures are not waited for
                if recorder is not None:
                    recorder.finish()
                    self._problems += [recorder.problem] if recorder.problem else []
            return outcomes + self._finish()

    def _instruct_daemon(self) -> None:
        part = RunPart(self.created, tuple(self.captured), self._output, os.getpid(), dict(self._captures.versions))
        self.daemon.instruct(Journal(self.config.home).enter(self._captures.daemon_spec(part)), self._heed_stop)

    def _heed_stop(self, who: str) -> None:
        """Pass on what `studio runs stop` asks for."""
        self.voice.say(f"{who} asks the run to stop: interrupt passed on to the script")
        if self._script is not None:
            self._script.stop()

    def _environment(self) -> dict[str, str]:
        """The environment of the script."""
        reused = {one.tag: one.path for one in self.created.artifacts if one.reuse is not None}
        mapping = {one.tag: str(one.path) for one in self.captured} | reused
        variables = child_environment(self.config.home, self.created.experiment, mapping)
        unbuffered = {"PYTHONUNBUFFERED": "1"} if self._output is not None else {}  # shown and kept as it is printed
        return {**unbuffered, **os.environ, **variables}

    def _attend(self, pid: int, wait: Callable[[], int]) -> None:
        """Wait for the script, and do beside it what it need not wait for."""
        started = threading.Thread(target=self._write_started, args=(pid, time.time()), name="environment", daemon=True)
        started.start()
        wait()
        started.join()

    def _write_started(self, pid: int, began: float) -> None:
        from studio_cas.experiment.environment import gather

        try:
            started = gather(self.request.python, self.request.folder, pid, began)
            records.write_started(self.store.backend, self.created, started)
        except (StudioError, OSError) as error:
            self.voice.say(f"the start of the run could not be recorded: {error}")

    def _write_ended(self) -> None:
        """Record the end, where no daemon did."""
        usage = self._script.usage if self._script else None
        status = ending(self._exit_code, stop_asked=self._stop_asked)
        ended = Ended(time.time(), status, self._exit_code, tuple(self._problems), usage)
        try:
            records.write_ended(self.store.backend, self.created, ended)
        except StudioError as error:
            self.voice.say(f"the end of the run could not be recorded: {error}")

    def _finish(self) -> list[Outcome]:
        """Let the daemon make the last captures, and record the end."""
        usage = self._script.usage if self._script else None
        end = {
            "exit_code": self._exit_code,
            "stop_asked": self._stop_asked,
            "problems": list(self._problems),
            "usage": asdict(usage) if usage else None,
        }
        progress = self.voice.progress()
        try:
            answer = self.daemon.finish(end, _Shown(progress).tell)
        finally:
            progress.finish()
        if answer is None:
            self._problems.append("no sync daemon could be kept alive to make the last captures: studio sync --resume")
            return []
        self._recorded = True
        count_also(Counts(**answer["asked"]))
        for sentence in answer.get("waiting", ()):  # captured, and on its way: no problem of the run
            self.voice.say(sentence)
        part = RunPart(self.created, tuple(self.captured), self._output, os.getpid())
        rows: Sequence[Mapping[str, Any]] = answer["outcomes"]
        self._problems += [problem for row in rows if (problem := problem_of(row, part)) is not None]
        return outcomes_of(rows, self.captured)


class _Shown:
    """Shows the progress that a daemon tells of, of all artifacts together."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._done: dict[str, tuple[int, int]] = {}
        progress.start("the last captures")

    def tell(self, row: Mapping[str, Any]) -> None:
        """The daemon told how far it is with one artifact."""
        if "bytes" in row:
            count, files = self._done.get(row["progress"], (0, 0))
            self._done[row["progress"]] = row["bytes"], row["files"]
            self._progress.advance(max(0, row["bytes"] - count), max(0, row["files"] - files))
