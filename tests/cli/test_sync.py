"""`studio sync` as a person types it; what the daemon does is tested in tests/reliability."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace

import pytest
from tests.reliability.folders import fill

from studio_cas.cli import sync
from studio_cas.config import opening
from studio_cas.errors import IncompleteError, TransientError
from studio_cas.formats import keys
from studio_cas.store.spooled import open_spooled
from studio_cas.testing.moody_backend import Moody
from studio_cas.worktree.capture import capture


@pytest.fixture
def kept(terminal, weights):
    """A folder that was captured once."""
    terminal.ok("sync", "--once", weights, "exp/weights")
    return weights


def test_once_captures_and_ends(terminal, weights):
    outcome = terminal.ok("sync", weights, "exp/weights", "--once")
    assert "exp/weights@1: 3 files" in outcome.err
    assert terminal.ok("ls", "exp/weights").out.count("\n") == 4
    assert "exp/weights@" not in terminal.ok("sync", weights, "exp/weights", "--once").err


def test_start_may_be_said(terminal, weights):
    terminal.ok("sync", "start", "--once", weights, "exp/weights")
    assert "exp/weights@1" in terminal.ok("log", "exp").out


def test_several_folders_and_files_at_once(terminal, weights):
    terminal.ok("sync", weights, "exp/weights", weights / "notes.txt", "exp/notes", "--once", "--quiet")
    assert terminal.ok("cat", "exp/notes").out == "loss 0.5\n"
    assert "exp/weights" in terminal.ok("log", "exp").out


def test_what_is_excluded_is_left_out(terminal, weights):
    terminal.ok("sync", "--exclude", "deep/", "--exclude", "*.bin", weights, "exp/weights", "--once")
    assert "notes.txt" in terminal.ok("ls", "exp/weights").out
    assert "deep" not in terminal.ok("ls", "exp/weights").out


@pytest.mark.parametrize(
    ("code", "words", "sentence"),
    [
        (2, ["start"], "name folders and their artifacts in turn"),
        (2, ["weights"], "name folders and their artifacts in turn"),
        (4, ["missing", "exp/w"], "there is no folder or file"),
        (2, ["weights", "exp"], "does not name an artifact"),
        (2, ["weights", "exp/w@7"], "names a version or a path"),
        (2, ["weights", "exp/w", "weights/deep", "exp/w"], "two folders would become exp/w"),
        (2, ["weights", "exp/w", "--interval", "soon"], "--interval: 'soon' is no duration"),
        (2, ["weights", "exp/w", "--max-rate", "much"], "--max-rate: 'much' is no size"),
        (2, ["weights", "exp/w", "--max-rate", "0"], "would never move anything"),
        (2, ["weights", "exp/w", "--resume"], "it takes no paths"),
    ],
)
def test_a_mistake_is_one_sentence(terminal, weights, code, words, sentence):
    assert sentence in terminal.fails(code, "sync", *words).err
    assert not terminal.store.exists()


def test_a_process_that_does_not_exist_is_an_error(terminal, weights):
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    assert "there is no process" in terminal.fails(4, "sync", weights, "e/w", "--until-pid", str(ended.pid)).err


def test_somebody_elses_experiment_is_refused_unless_joined(terminal, kept):
    outcome = terminal.fails(6, "sync", "--once", kept, "exp/weights", STUDIOML_USER="somebody")
    assert "--join" in outcome.err
    terminal.ok("sync", "--once", "--join", kept, "exp/weights", STUDIOML_USER="somebody")


def test_a_store_that_cannot_be_reached_is_said_at_once(terminal, weights):
    outcome = terminal.run(
        "sync", weights, "exp/w", "--store", "gs://bucket", STORAGE_EMULATOR_HOST="http://127.0.0.1:9"
    )
    assert outcome.code == 3
    assert "Traceback" not in outcome.err


def test_paths_that_are_left_out_are_named_and_the_code_is_8(terminal, weights):
    with (weights / "busy").open("w") as busy:
        busy.write("half")
        busy.flush()
        outcome = terminal.run("sync", "--once", weights, "exp/weights")
    assert outcome.code == 8
    assert "exp/weights: busy" in outcome.err


def test_nothing_is_kept_at_first(terminal):
    assert "nothing is kept up to date" in terminal.ok("sync", "status").out
    assert terminal.ok("sync", "status", "--json").json == []
    assert terminal.ok("sync", "list", "--json").json == []
    assert "nothing to finish" in terminal.ok("sync", "--resume").err


def test_what_has_ended_is_listed(terminal, kept):
    [row] = terminal.ok("sync", "list", "--json").json
    assert (row["path"], row["experiment"], row["tag"], row["state"]) == (str(kept), "exp", "weights", "ended")
    assert row["version"]["number"] == 1
    assert row["version"]["files"] == 3
    assert {
        "store",
        "pid",
        "checked",
        "cycles",
        "period",
        "pending",
        "rate",
        "stale",
        "skipped",
        "watch",
        "trouble",
    } <= set(row)
    assert "exp/weights" in terminal.ok("sync", "list").out
    assert terminal.ok("sync", "status", "--json").json == []
    again = json.loads(terminal.ok("sync", "status", "exp/weights", "--json").out)[0]
    assert again | {"waiting": None} == row | {"waiting": None}  # a bucket's tells what is free on the disk


def test_what_is_not_kept_cannot_be_stopped(terminal, kept):
    assert "not kept up to date by any process" in terminal.fails(4, "sync", "stop", "exp/weights").err
    assert "there is: exp/weights" in terminal.fails(4, "sync", "stop", "exp/wieghts").err
    assert "say --all" in terminal.fails(2, "sync", "stop").err
    assert terminal.ok("sync", "stop", "--all").out == ""


def test_a_version_that_cannot_go_up_is_not_said_to_have_gone(tmp_path, monkeypatch, capsys):
    home, remote = tmp_path / "home", Moody()
    work, theirs = (fill(tmp_path / name, big=300_000) for name in ("work", "theirs"))
    with open_spooled(remote, home=home) as store:
        capture(store, theirs, "them", "data")
        remote.error = TransientError("connection refused")
        capture(store, work, "exp", "tag")
    remote.error = None
    for found in list(remote.inner.list(keys.PACKS)):
        remote.inner.delete(found.key)
    monkeypatch.setattr(opening, "open_spooled_storage", lambda *_, **__: open_spooled(remote, home=home))
    config = SimpleNamespace(home=home, storage=SimpleNamespace(url=remote.url), offline_budget=None)
    assert sync._sendwaiting_for(config, quiet=False) == IncompleteError.exit_code
    told = capsys.readouterr().err
    assert "exp/tag@1: a pack that it shares" in told
    assert "went up" not in told
