"""The run's part of its daemon: heartbeats, requests to stop, what it says to the runner, the record of the end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from studio_cas.config import Storage
from studio_cas.errors import TransientError
from studio_cas.experiment import records
from studio_cas.experiment.artifacts import Captured
from studio_cas.experiment.companion import BEAT, RunCompanion, RunPart, decode_part, problem_of
from studio_cas.formats.experiment import Ended, Stop, Usage
from studio_cas.sync.control import Asker
from studio_cas.sync.journal import Journal
from studio_cas.sync.processes import Process
from studio_cas.sync.pulse import LONGEST
from studio_cas.sync.spec import DaemonSpec, Pair

RUNNER = 4_000_000  # no process has it
FINISHED = {"ask": "finish", "exit_code": 3, "stop_asked": False, "problems": ["one"], "usage": None}


@dataclass
class Beside:
    """A companion, and those who may look at what it does: `now` is its clock."""

    store: Any
    base: Path
    created: Any
    folder: Any = None
    companion: Any = None
    now: float = 5000.0

    def begin(self, *, again: bool = False, **changes: Any) -> RunCompanion:
        """Make the companion; `again`, as the daemon that follows a killed one does."""
        captured = (Captured("w", self.base / "w"), Captured("output", self.base / "output", default=True))
        part = replace(RunPart(self.created, captured, self.base / "output", RUNNER, {"d": (1, 1)}), **changes)
        pairs = tuple(Pair(one.path, "exp", one.tag) for one in captured)
        spec = DaemonSpec(pairs, Storage("memory"), self.base / "home", "anna", run=part.encode())
        if not again:
            self.folder = Journal(self.base / "home").enter(spec)
        self.notes: list[str] = []
        self.companion = RunCompanion(self.folder, spec, self.notes.append, lambda: self.now)
        return self.companion

    def ask(self, request: Any, *files: int) -> None:
        """A request of somebody who is not kept."""
        with socket.socket() as theirs:
            assert not self.companion.asked(request, Asker(theirs, list(files)))

    def beat(self, seconds: float = LONGEST) -> None:
        self.now += seconds
        self.companion.beat(lambda: self.store)

    def lost(self, pid: int, code: int | None = None) -> None:
        self.companion.lost(Process(pid), code)

    def end(self, outcomes: Any = ()) -> Ended:
        assert self.companion.end(lambda: self.store, outcomes)
        return self.record().ended

    def record(self) -> Any:
        return records.read_attempt(self.store.backend, "exp", 1, self.now)

    def beats(self) -> int:
        return records.count_heartbeats(self.store.backend, self.created)


class Runner:
    """A runner at the other end of a socket."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        self.asker = Asker(theirs, [])
        self._ours.settimeout(30)

    def heard(self) -> list[dict[str, Any]]:
        """Everything, after the companion hung up."""
        self.asker.close()
        with self._ours, self._ours.makefile("rb") as lines:
            return [json.loads(line) for line in lines]


@pytest.fixture
def runner():
    return Runner()


@pytest.fixture
def beside(store, record, tmp_path):
    made = Beside(store, tmp_path, record())
    made.begin()
    return made


@pytest.fixture
def script():
    """A script that says by its exit code how it was interrupted; a group of its own, as scripts of runs have."""
    text = (
        "import signal, sys, time; signal.signal(2, lambda *_: sys.exit(9)); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", text], process_group=0, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


@contextlib.contextmanager
def pipe():
    """The two ends; who closes one says so by leaving it out."""
    ends = list(os.pipe())
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def outcome(tag, version, *, first=None, problem=None, path="/nowhere"):
    return {"tag": tag, "path": path, "first": first, "version": version, "problem": problem}


def test_what_it_is_told_survives_the_journal(beside):
    part = beside.companion.part
    assert decode_part(json.loads(json.dumps(part.encode()))) == part
    assert (part.runner, part.once, part.begun) == (RUNNER, {"d": (1, 1)}, True)


def test_a_short_run_has_no_heartbeat_and_a_long_one_a_heartbeat_at_each_look(beside):
    beside.beat(0.0)
    assert beside.beats() == 0
    for count in (1, 2, 3):
        beside.beat()
        assert beside.beats() == count


def test_looks_that_come_often_make_no_more_heartbeats(beside):
    for _ in range(60):
        beside.beat(1.0)
    assert beside.beats() == 60 // BEAT
    assert beside.record().status == "running"


def test_the_next_daemon_goes_on_counting(beside):
    beside.beat()
    beside.begin(again=True)
    beside.beat()
    assert beside.beats() == 2


def test_a_store_that_is_away_costs_a_heartbeat_and_raises_nothing(beside):
    def away():
        raise TransientError("no network")

    beside.now += LONGEST
    beside.companion.beat(away)
    beside.beat()
    assert beside.beats() == 1


def test_a_request_to_stop_is_passed_on_once(beside, runner):
    assert beside.companion.asked({"ask": "listen"}, runner.asker)
    beside.beat()
    records.request_stop(beside.store.backend, beside.created, Stop(1.0, "bert", "desk"))
    beside.beat()
    beside.beat()
    assert runner.heard() == [{"stop": "bert on desk"}]
    beside.ask(FINISHED)
    assert beside.end().status == "stopped"


def test_a_script_without_a_runner_is_interrupted_where_it_is_to_stop(beside, script):
    beside.ask({"ask": "attend", "pid": script.pid})
    beside.lost(RUNNER)
    records.request_stop(beside.store.backend, beside.created, Stop(1.0, "bert", "desk"))
    beside.beat()
    assert script.wait(30) == 9
    beside.lost(script.pid, 9)
    ended = beside.end()
    assert (ended.status, ended.exit_code) == ("stopped", 9)


def test_a_script_that_is_gone_already_needs_no_interrupt(beside, script):
    beside.ask({"ask": "attend", "pid": script.pid})
    script.kill()
    script.wait()
    beside.lost(RUNNER)
    records.request_stop(beside.store.backend, beside.created, Stop(1.0, "bert", "desk"))
    beside.beat()
    assert beside.end().status == "stopped"


def test_what_is_said_before_somebody_listens_is_heard_later(beside, runner):
    beside.companion.say("early")
    assert beside.companion.asked({"ask": "listen"}, runner.asker)
    beside.companion.say("late")
    assert beside.notes == ["early", "late"]
    assert runner.heard() == [{"say": "early"}, {"say": "late"}]


def test_the_end_that_the_runner_tells_is_recorded_with_the_versions(beside, runner):
    usage = {"seconds": 2.5, "cpu_seconds": 1.5, "peak_memory": 7}
    beside.companion.asked({"ask": "listen"}, runner.asker)
    beside.ask({**FINISHED, "usage": usage})
    ended = beside.end([outcome("w", 4, first=2), outcome("output", 3), outcome("tb", None)])
    assert (ended.status, ended.exit_code, ended.problems) == ("failed", 3, ("one",))
    assert ended.versions == {"d": (1, 1), "w": (2, 4), "output": (3, 3)}
    assert (ended.usage, ended.time) == (Usage(**usage), beside.now)
    assert runner.heard() == [{"done": True}]


def test_an_artifact_that_could_not_be_captured_is_a_problem_that_says_where_it_is(beside):
    (beside.base / "w").mkdir()
    beside.ask({**FINISHED, "exit_code": 0, "problems": []})
    path = str(beside.base / "w")
    ended = beside.end([outcome("w", 2, problem="no room", path=path), outcome("output", None, problem="no network")])
    assert ended.status == "finished"
    assert ended.problems == (
        f"w was not captured: no room; it is still in {path}; when that is mended: studio push {path} exp/w",
        "output was not captured: no network",
    )
    assert problem_of(outcome("w", 2), beside.companion.part) is None


def test_an_end_that_cannot_be_recorded_is_left_for_later(beside, runner):
    def away():
        raise TransientError("no network")

    beside.companion.asked({"ask": "listen"}, runner.asker)
    beside.ask(FINISHED)
    assert not beside.companion.end(away, [])
    said = "the end of the run could not be recorded: no network; studio sync --resume does it later"
    assert runner.heard() == [{"say": said}, {"done": True}]
    assert beside.record().ended is None
    beside.begin(again=True)
    assert (beside.end().exit_code, beside.end().problems) == (3, ("one",))


@pytest.mark.parametrize(
    ("code", "recorded", "status"), [(0, 0, "finished"), (7, 7, "failed"), (-9, 137, "failed"), (-15, 143, "stopped")]
)
def test_where_the_runner_is_killed_the_system_tells_how_the_script_ended(beside, script, code, recorded, status):
    beside.ask({"ask": "attend", "pid": script.pid})
    beside.lost(RUNNER)
    beside.lost(script.pid, code)
    ended = beside.end()
    assert (ended.status, ended.exit_code) == (status, recorded)
    assert ended.problems == ("studio run was killed; the captures went on without it",)


def test_where_nobody_tells_that_is_what_is_recorded(beside):
    beside.lost(RUNNER)
    beside.lost(12345, None)
    ended = beside.end()
    assert (ended.status, ended.exit_code) == ("failed", None)
    assert ended.problems[-1] == "how the script ended is not known: studio run did not live to see it"


def test_a_runner_that_is_killed_before_its_script_is_a_failed_run(beside):
    beside.begin(begun=False)
    beside.lost(RUNNER)  # it may still be dying when its daemon hears nothing more of it
    ended = beside.end()
    assert (ended.status, ended.exit_code) == ("failed", None)
    assert ended.problems == ("studio run was killed before the script began",)


def test_the_output_is_recorded_on_where_the_runner_is_killed(beside, script):
    (beside.base / "output").write_bytes(b"before\n")
    with pipe() as (read, write):
        beside.ask({"ask": "attend", "pid": script.pid}, os.dup(read))
        os.write(write, b"after\n")
        beside.lost(RUNNER)
        os.write(write, b"last\n")
        beside.lost(script.pid, 0)
    assert (beside.base / "output").read_bytes() == b"before\nafter\nlast\n"


def test_only_the_ends_of_the_last_script_are_kept(beside, script):
    with pipe() as (first, _), pipe() as (second, _):
        copies = [os.dup(first), os.dup(second)]
        for copy in copies:
            beside.ask({"ask": "attend", "pid": script.pid}, copy)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(copies[0])
        os.close(copies[1])


def test_the_signals_that_stop_are_those_that_the_runner_passes_on():
    from studio_cas.experiment import companion, process

    assert set(companion.STOPPING) == set(process.STOPPING) == {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
