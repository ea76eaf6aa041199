"""The captures of a run: their order, their patience, and that they never overlap."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from studio_cas.config import load_config
from studio_cas.errors import NotFoundError, TransientError
from studio_cas.experiment import captures as module
from studio_cas.experiment.artifacts import Captured
from studio_cas.experiment.captures import CapturePlan, Captures, PeriodicCaptures
from studio_cas.progress import Silent


@pytest.fixture
def said():
    return []


@pytest.fixture
def calls(monkeypatch):
    """What `capture` was called for, and what it answers: an error, or the paths that were being written."""
    calls = SimpleNamespace(tags=[], answers={})

    def capture(store, root, experiment, tag, **options):
        calls.tags.append(tag)
        answers = calls.answers.get(tag, [])
        answer = answers.pop(0) if answers else ()
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(version=SimpleNamespace(number=len(calls.tags)), stale=answer, skipped=())

    import studio_cas.worktree.capture

    monkeypatch.setattr(studio_cas.worktree.capture, "capture", capture)
    monkeypatch.setattr(module, "FINAL_PAUSE", 0)
    return calls


@pytest.fixture
def build(tmp_path, said, calls):
    def build(**tags):
        captured = []
        for tag, options in tags.items():
            (tmp_path / tag).mkdir()
            if not options.pop("empty", False):
                (tmp_path / tag / "file").touch()
            captured.append(Captured(tag, tmp_path / tag, **options))
        config = load_config(environ={"STUDIOML_HOME": str(tmp_path / "home")})
        return Captures(None, config, CapturePlan("exp", tuple(captured)), said.append)

    return build


def test_the_versions_of_the_first_and_the_last_state_are_remembered(build, calls):
    captures = build(once={"once": True}, weights={}, other={})
    captures.capture_once(None)
    captures.capture_all()
    calls.answers["other"] = [OSError("gone")] * 3
    captures.capture_final(lambda: None)
    assert captures.versions == {"once": (1, 1), "weights": (2, 4), "other": (3, 3)}


def test_what_was_asked_for_comes_before_the_workspace(build, calls):
    captures = build(workspace={"default": True}, tb={"default": True}, once={"once": True}, weights={})
    captures.capture_all()
    assert calls.tags == ["weights", "tb", "workspace"]


def test_captured_once_is_captured_once(build, calls):
    captures = build(data={"once": True}, weights={})
    captures.capture_once(None)
    captures.capture_all()
    captures.capture_final(Silent)
    assert calls.tags == ["data", "weights", "weights"]


def test_a_failed_capture_is_told_once_and_tried_again(build, calls, said):
    captures = build(a={}, b={})
    calls.answers["a"] = [TransientError("away"), TransientError("away"), (), TransientError("away again")]
    for _ in range(4):
        captures.capture_all()
    assert calls.tags == ["a", "b"] * 4
    assert said == [
        "a could not be captured, and is tried again later: away",
        "a could not be captured, and is tried again later: away again",
    ]


def test_the_last_capture_is_patient(build, calls):
    captures = build(a={}, b={})
    calls.answers["a"] = [TransientError("away"), ("still written",)]
    calls.answers["b"] = [NotFoundError("gone")] * 3
    first, second = captures.capture_final(Silent)
    assert calls.tags == ["a", "a", "a", "b", "b", "b"]
    assert (first.problem, first.result.stale) == (None, ())
    assert (second.problem, second.result) == ("gone", None)


def test_empty_folders_are_captured_at_the_end_only_where_somebody_asked(build, calls):
    captures = build(asked={"empty": True}, tb={"empty": True, "default": True})
    captures.capture_all()
    assert calls.tags == []
    captures.capture_final(Silent)
    assert calls.tags == ["asked"]


class Cycles:
    """Stands for Captures: every cycle does `work`."""

    def __init__(self, work):
        self.capture_all = work
        self.prepared = threading.Event()
        self.prepare = self.prepared.set


def test_cycles_do_not_overlap_and_survive_what_goes_wrong(said):
    running, overlaps, cycles, beats = threading.Lock(), [], threading.Semaphore(0), []

    def cycle():
        overlaps.append(not running.acquire(blocking=False))
        running.release()
        cycles.release()
        raise RuntimeError("broken")

    periodic = PeriodicCaptures(Cycles(cycle), lambda: beats.append(True), 0.001, said.append)
    periodic.start()
    for _ in range(5):
        assert cycles.acquire(timeout=10)
    periodic.stop()
    assert not any(overlaps)
    assert len(beats) >= 5
    assert "tried again later: unexpected RuntimeError: broken; this is a fault of studio" in said[0]


def test_a_short_script_is_captured_only_at_its_end(said):
    captures = Cycles(lambda: said.append("captured"))
    periodic = PeriodicCaptures(captures, lambda: None, 60, said.append)
    periodic.start()
    assert captures.prepared.wait(10)
    periodic.stop()
    assert said == []


def test_stopping_waits_for_the_cycle_that_goes_on(said):
    entered, leave, left = threading.Event(), threading.Event(), []

    def cycle():
        entered.set()
        leave.wait(10)
        left.append(True)

    periodic = PeriodicCaptures(Cycles(cycle), lambda: None, 0.001, said.append)
    periodic.start()
    assert entered.wait(10)
    threading.Timer(0.05, leave.set).start()
    periodic.stop()
    assert left[0]


def test_an_unexpected_fault_in_one_artifact_loses_no_other(build, calls):
    captures = build(a={}, b={})
    calls.answers["a"] = [NameError("oops")] * 3
    first, second = captures.capture_final(Silent)
    assert "unexpected NameError: oops" in first.problem
    assert second.result is not None
