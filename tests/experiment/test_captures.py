"""What a run captures itself, and what it asks its daemon to capture."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from studio_cas.config import load_config
from studio_cas.errors import NotFoundError
from studio_cas.experiment.artifacts import Captured
from studio_cas.experiment.captures import CapturePlan, Captures, outcomes_of
from studio_cas.experiment.companion import RunPart, decode_part
from studio_cas.formats.experiment import Created
from studio_cas.progress import Silent
from studio_cas.store.store import open_store
from studio_cas.sync import spec


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "store", home=tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def build(tmp_path, store):
    config = load_config(environ={"STUDIOML_HOME": str(tmp_path / "home"), "STUDIOML_STORE": str(tmp_path / "store")})

    def build(*captured, **fields):
        for one in captured:
            one.path.mkdir(exist_ok=True)
            (one.path / "file").write_text(one.tag)
        created = Created("exp", 1, "ann", "host", 1.5, ("x",), str(tmp_path), 60.0, **fields)
        return created, Captures(store, config, CapturePlan(created, captured), lambda text: None)

    return build


@pytest.fixture
def folder(tmp_path):
    def folder(tag, **options):
        return Captured(tag, tmp_path / tag, **options)

    return folder


def test_captured_once_is_captured_by_the_run(build, folder):
    _, captures = build(folder("data", once=True), folder("weights"))
    [outcome] = captures.capture_once(Silent())
    assert (outcome.artifact.tag, outcome.number, outcome.files) == ("data", 1, 1)
    assert captures.versions == {"data": (1, 1)}


def test_what_cannot_be_captured_once_is_an_error(build, folder):
    data = folder("data", once=True)
    _, captures = build(data)
    (data.path / "file").unlink()
    data.path.rmdir()
    with pytest.raises(NotFoundError):
        captures.capture_once(None)


def daemon(build, *captured, **fields):
    created, captures = build(*captured, **fields)
    part = RunPart(created, captured, None, os.getpid(), {"data": (3, 3)})
    return part, captures.daemon_spec(part)


def test_the_daemon_captures_the_rest_what_was_asked_for_first(build, folder):
    once, asked = folder("data", once=True), folder("weights")
    defaults = [folder("workspace", default=True), folder("tb", default=True)]
    _, asked_of = daemon(build, once, *defaults, asked)
    assert [(pair.experiment, pair.tag, pair.optional) for pair in asked_of.pairs] == [
        ("exp", "weights", False),
        ("exp", "tb", True),
        ("exp", "workspace", False),
    ]
    assert [process.pid for process in asked_of.until] == [os.getpid()]
    assert asked_of.first == 5.0


def test_the_daemon_leaves_out_the_store_the_home_and_the_other_artifacts(build, tmp_path):
    workspace = Captured("workspace", tmp_path, default=True)
    inner = Captured("inner", tmp_path / "inner")
    _, asked_of = daemon(build, workspace, inner)
    pairs = {pair.tag: pair for pair in asked_of.pairs}
    assert {tmp_path / "store", tmp_path / "home", tmp_path / "inner"} <= set(pairs["workspace"].exclude)
    assert ".git/" in pairs["workspace"].ignore
    assert pairs["inner"].ignore == ()


def test_what_a_daemon_is_told_of_the_run_survives_its_spec(build, folder):
    part, asked_of = daemon(build, folder("data", once=True), folder("weights"), workspace_all=True)
    again = spec.decode(spec.encode(asked_of))
    assert again == asked_of
    assert decode_part(again.run) == part


def test_outcomes_are_told_but_for_what_nobody_used():
    captured = [Captured("w", Path("/w")), Captured("tb", Path("/tb"), default=True), Captured("x", Path("/x"))]
    row = {"files": 2, "size": 9, "stale": ["a"], "skipped": ["b: why"], "version": 7, "problem": None}
    nothing = {"files": 0, "size": 0, "stale": [], "skipped": [], "version": None, "problem": None}
    rows = [{"tag": "w", **row}, {"tag": "tb", **nothing}, {"tag": "x", **row, "problem": "away"}]
    first, second = outcomes_of(rows, captured)
    assert (first.artifact.tag, first.number, first.stale, first.skipped) == ("w", 7, ("a",), ("b: why",))
    assert (second.artifact.tag, second.number) == ("x", None)
