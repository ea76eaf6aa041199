"""`studio rerun`, on real runs: on another machine, which is here another home and another folder."""

from __future__ import annotations

import pytest

from studio_cas.formats.experiment import attempt_key, decode_created, decode_started

TRAIN = """\
import sys, time
from pathlib import Path
from studio import fs_tracker
captured = Path.home() / ".studioml/store/versions/exp/workspace"
deadline = time.monotonic() + 60
while not captured.exists() and time.monotonic() < deadline:
    time.sleep(0.1)
data = Path(fs_tracker.get_artifact("data"), "numbers").read_text()
start = Path(fs_tracker.get_artifact("start"), "w").read_text()
Path(fs_tracker.get_artifact("weights"), "w").write_text(f"{start} {data} {Path(sys.argv[1]).read_text()}")
if fs_tracker.get_experiment_key() == "exp":
    Path("train.py").write_text("raise SystemExit('this was edited while it ran')")
print("trained")
"""


@pytest.fixture
def elsewhere(terminal, tmp_path):
    """Options that name the same store on a machine that has nothing else."""
    return ["--store", terminal.address, "--home", str(tmp_path / "elsewhere")]


@pytest.fixture
def recorded(terminal):
    """A run that reads what it captured once and what it reuses, and changes its own script; then all of it changes."""
    data, project = terminal.home / "data", terminal.home / "project"
    for folder in (data, project):
        folder.mkdir()
    (data / "numbers").write_text("42")
    (data / "w").write_text("seven")
    (project / "train.py").write_text(TRAIN)
    terminal.ok("push", data, "earlier/weights")
    terminal.folder = project
    words = ["--interval", "1s", "-co", "~/data:data", "-c", "~/weights:weights", "-r", "earlier/weights:start"]
    terminal.ok("run", "-e", "exp", *words, "train.py", data / "numbers")
    (data / "numbers").write_text("changed")
    (data / "w").write_text("changed")
    terminal.ok("push", data, "earlier/weights")
    return terminal


def created(terminal, experiment):
    return decode_created(bytes(terminal.backend.read(attempt_key(experiment, 1, "created"))))


def test_a_run_is_repeated_elsewhere_from_its_record(recorded, elsewhere, tmp_path):
    recorded.folder = tmp_path
    before = recorded.ok("rerun", "exp", "-e", "again", "--dry-run", *elsewhere)
    assert "exp/data@1 -> " in before.err
    assert not (tmp_path / "elsewhere" / "experiments").exists()
    outcome = recorded.ok("rerun", "exp", "-e", "again", *elsewhere)
    assert outcome.out == "trained\n"
    assert recorded.ok("cat", "again/weights/w").out == recorded.ok("cat", "exp/weights/w").out == "seven 42 42"
    again = created(recorded, "again")
    assert again.repeats == "exp@1"
    assert again.folder.startswith(str(tmp_path / "elsewhere"))
    assert "start is earlier/weights@1" in outcome.err
    assert "environment:" not in outcome.err
    assert recorded.ok("rerun", "again", "--quiet", "--folder", "third", "-c", "there:weights", *elsewhere).out
    assert (tmp_path / "there" / "w").read_text() == "seven 42 42"
    assert (tmp_path / "third" / "data" / "numbers").read_text() == "42"


@pytest.mark.own_store
def test_what_differs_in_the_environment_is_said(recorded, elsewhere):
    backend, key = recorded.backend, attempt_key("exp", 1, "started")
    text = bytes(backend.read(key)).decode()
    started = decode_started(text.encode())
    text = text.replace(f'"python_version": "{started.python_version}"', '"python_version": "3.9.1"')
    text = text.replace(f'"pytest": "{started.packages["pytest"]}"', '"pytest": "0.1", "Not.Installed": "2.0"')
    backend.delete(key)
    backend.create(key, [text.encode()])
    err = recorded.ok("rerun", "exp", "--dry-run", *elsewhere).err
    assert f"environment: Python 3.9.1 then, {started.python_version} here\n" in err
    assert f"environment: pytest 0.1 then, {started.packages['pytest']} here\n" in err
    assert "environment: Not.Installed 2.0 then, missing here\n" in err
    assert err.count("environment:") == 3


def test_the_exit_code_is_the_scripts(terminal, elsewhere):
    (terminal.folder / "fail.py").write_text("raise SystemExit(3)")
    terminal.run("run", "-e", "exp", "fail.py")
    assert terminal.run("rerun", "exp", *elsewhere).code == 3
    terminal.run("run", "-e", "shell", "--", "sh", "-c", "exit 4")
    assert terminal.run("rerun", "shell", *elsewhere).code == 4


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["rerun", "nothing"], 4, "there is no run of an experiment 'nothing'"),
        (["rerun", "bare"], 4, "was not captured (--no-workspace)"),
        (["rerun", "bare", "-c", "x:w", "-c", "y:w"], 2, "two places for one artifact"),
        (["rerun", "bare", "--folder", "."], 6, "is not empty"),
        (["rerun", "bare", "-e", "a/b"], 2, "cannot name an experiment"),
    ],
)
def test_what_cannot_be_repeated_is_told_in_a_sentence(terminal, words, code, sentence):
    (terminal.folder / "pass.py").write_text("")
    terminal.ok("run", "-e", "bare", "--no-workspace", "pass.py")
    assert sentence in terminal.fails(code, *words).err
