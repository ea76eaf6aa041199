"""`studio runs` and `studio logs`, on real runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from studio_cas.errors import NotFoundError
from studio_cas.experiment.records import create_attempt, write_ended, write_started
from studio_cas.experiment.runs import find_run
from studio_cas.formats.experiment import Created, Ended, Gpu, Resources, Started, Usage
from studio_cas.testing.faulty_gcs import FaultyGcs
from studio_cas.testing.faulty_http import BUCKET, Fault, serve

SAVES = """\
import sys, time
from studio import fs_tracker
try:
    for number in range(600):
        print("line", number, flush=True)
        time.sleep(0.1)
except KeyboardInterrupt:
    open(fs_tracker.get_artifact("w") + "/saved", "w").write("x")
    print("saved")
"""


@pytest.fixture
def going_on(terminal):
    """Start a call that goes on, and return its process."""
    started = []

    def going_on(*arguments):
        process = terminal.start(*arguments, bufsize=0)  # else what readline took ahead is missing later
        started.append(process)
        return process

    yield going_on
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def running(terminal, name="exp"):
    """The run, once its start is recorded."""
    backend = terminal.backend

    def look():
        try:
            attempt = find_run(backend, name, time.time())
        except NotFoundError:
            return None
        return attempt if attempt.started else None

    return wait_for(look)


@pytest.mark.own_store
def test_a_run_is_listed_shown_followed_stopped_and_removed(terminal, going_on):
    (terminal.folder / "train.py").write_text(SAVES)
    run = going_on("run", "-e", "exp", "--interval", "1s", "-c", "~/w:w", "train.py")
    running(terminal)
    [listed] = terminal.ok("runs", "list", "--status", "running", "--json").json
    assert (listed["experiment"], listed["attempt"], listed["status"]) == ("exp", 1, "running")
    assert terminal.ok("runs", "list", "--status", "finished").out.count("\n") == 1
    follower = going_on("logs", "exp", "-f")
    assert [follower.stdout.readline() for _ in range(3)] == [b"line 0\n", b"line 1\n", b"line 2\n"]
    assert "exp@1 is running: studio runs stop" in terminal.fails(6, "runs", "rm", "exp", "--yes").err
    stopped = terminal.ok("runs", "stop", "exp")
    assert f"exp@1: interrupted, process {run.pid} on this machine" in stopped.out
    _, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    out, _ = follower.communicate(timeout=60)
    assert out.endswith(b"saved\n")
    assert terminal.ok("logs", "exp", "-n", "1").out == "saved\n"
    shown = terminal.ok("runs", "show", "exp", "--json").json
    assert (shown["status"], shown["exit_code"]) == ("stopped", 0)
    assert shown["stop"]["user"] == shown["user"]
    assert terminal.fails(2, "runs", "stop", "exp").err == "studio: exp@1 has ended: it was stopped\n"
    asked = terminal.run("runs", "rm", "exp@1")
    assert asked.code == 2
    assert "would remove exp@1" in asked.out
    assert terminal.ok("runs", "list", "--json").json
    removed = terminal.ok("runs", "rm", "exp", "--yes").out
    assert "stay in the store until studio gc deletes them" in removed
    assert terminal.ok("runs", "list", "--json").json == []
    assert terminal.ok("ls").out == ""


def test_a_run_in_the_background_of_a_shell_script_is_stopped_too(terminal, going_on):
    (terminal.folder / "wait.py").write_text("import time; time.sleep(60)")  # its Ctrl-C is ignored, by the shell
    studio = f"{sys.executable} -m studio_cas.cli.main"
    shell = subprocess.Popen(
        ["sh", "-c", f"{studio} run -e exp wait.py & wait"], cwd=terminal.folder, env=terminal.environment
    )
    running(terminal)
    terminal.ok("runs", "stop", "exp@1")
    shell.wait(timeout=60)
    assert terminal.ok("runs", "list", "--json").json[0]["status"] == "stopped"


def test_logs_follow_a_run_elsewhere_by_the_store(terminal, going_on, tmp_path):
    (terminal.folder / "train.py").write_text(SAVES)
    run = going_on("run", "-e", "exp", "--interval", "1s", "-c", "~/w:w", "train.py")
    running(terminal)
    elsewhere = ["--store", terminal.address, "--home", str(tmp_path / "elsewhere")]
    follower = going_on("logs", "exp@1", "--follow", *elsewhere)
    first = follower.stdout.readline()
    os.killpg(run.pid, signal.SIGINT)
    run.communicate(timeout=60)
    out, err = follower.communicate(timeout=60)
    assert follower.returncode == 0, err
    assert first + out == terminal.raw("cat", "exp/output").stdout
    assert (first + out).endswith(b"saved\n")


def test_all_that_is_recorded_is_shown(terminal):
    backend = terminal.backend
    terminal.ok("push", terminal.home, "other/w")  # makes the store
    command = ("/usr/bin/python", "train.py", "two words")
    created = create_attempt(
        backend, Created("exp", 0, "anna", "laptop", 0.0, command, "/here", 60.0, python=command[0], repeats="old@2")
    )
    resources = Resources(4.0, 8 << 30, (Gpu("Tesla T4", 15 << 30, "550"),))
    write_started(
        backend,
        created,
        Started(5.0, "gpu-1", 7, "Linux", command[0], "3.11.2", {"numpy": "2.0"}, None, 6, resources),
    )
    usage = Usage(7200.0, 3600.0, 3 << 30)
    write_ended(backend, created, Ended(7225.0, "failed", 9, ("w was not captured",), usage, {"w": (2, 7)}))
    text = terminal.ok("runs", "show", "exp").out
    for line in (
        "status:     failed, exit code 9\n",
        "command:    /usr/bin/python train.py 'two words'\n",
        "repeats:    old@2\n",
        "started:    1970-01-01T00:00:05Z on gpu-1, process 7\n",
        "machine:    4 processors, 8.0 GiB of memory, Tesla T4 (15.0 GiB)\n",
        "took:       2h0m the script, 5.0s before it, 20s after it\n",
        "used:       1h0m of processor time, at most 3.0 GiB in one process\n",
        "artifact:   w: captured all along, versions 2 to 7\n",
        "problem:    w was not captured\n",
    ):
        assert line in text
    found = terminal.ok("runs", "show", "exp", "--json").json
    assert found["packages"] == {"numpy": "2.0"}
    assert found["resources"]["gpus"] == [{"name": "Tesla T4", "memory": 15 << 30, "driver": "550"}]
    assert found["durations"] == {"before": 5.0, "script": 7200.0, "after": 20.0}
    row = terminal.ok("runs", "list", "--user", "a*", "--host", "gpu-*", "--experiment", "ex?", "-n", "1").out
    assert row.splitlines()[1].split()[:2] == ["exp@1", "failed"]
    assert "train.py 'two words'" in row


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["runs", "list", "--status", "runing"], "did you mean 'running'?"),
        (["runs", "list", "--since", "long ago"], "write 2d or 12h"),
        (["runs", "show", "exp/w"], "names no run"),
        (["logs", "exp@x"], "names no run"),
    ],
)
def test_wrong_words_are_told(terminal, words, sentence):
    terminal.ok("push", terminal.home, "other/w")
    assert sentence in terminal.fails(2, *words).err


def test_since_takes_a_while_or_a_moment(terminal):
    (terminal.folder / "pass.py").write_text("")
    terminal.ok("run", "-e", "exp", "pass.py")
    for since, found in (("1h", 1), ("2020-01-01", 1), ("2020-01-01T10:00", 1), ("2999-01-01", 0)):
        assert len(terminal.ok("runs", "list", "--since", since, "--json").json) == found


def test_a_credential_that_may_not_delete_removes_nothing_and_is_told(terminal):
    (terminal.folder / "pass.py").write_text("")
    with serve(FaultyGcs) as gcs:
        bucket = {"STORAGE_EMULATOR_HOST": gcs.endpoint}
        words = ["--store", f"gs://{BUCKET}"]
        terminal.ok("run", "-e", "exp", *words, "pass.py", **bucket)
        before = dict(gcs.objects)
        gcs.arm(*[Fault("DELETE", status=403, message="no storage.objects.delete access") for _ in range(20)])
        outcome = terminal.fails(3, "runs", "rm", "exp", "--yes", *words, **bucket)
        assert "exp could not be removed, and nothing was" in outcome.err
        assert "it takes a credential that may delete" in outcome.err
        assert gcs.objects == before


def test_the_same_in_a_bucket(terminal, gcs_emulator):
    (terminal.folder / "hello.py").write_text("print('one'); print('two')")
    bucket = {"STORAGE_EMULATOR_HOST": gcs_emulator.endpoint}
    words = ["--store", f"gs://{gcs_emulator.new_bucket()}/team"]
    terminal.ok("run", "-e", "exp", *words, "hello.py", **bucket)
    terminal.ok("rerun", "exp", "-e", "again", *words, **bucket)
    listed = terminal.ok("runs", "list", "--json", *words, **bucket).json
    assert [(run["experiment"], run["status"]) for run in listed] == [("again", "finished"), ("exp", "finished")]
    assert terminal.ok("logs", "again", "-f", "-n", "1", *words, **bucket).out == "two\n"
    assert terminal.ok("runs", "show", "again", "--json", *words, **bucket).json["repeats"] == "exp@1"
    terminal.ok("runs", "rm", "exp@1", "--yes", *words, **bucket)
    assert [run["experiment"] for run in terminal.ok("runs", "list", "--json", *words, **bucket).json] == ["again"]
