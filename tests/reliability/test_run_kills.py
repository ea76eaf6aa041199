"""`studio run` while things are killed: the last version is made, and the record of the run tells the truth."""

import fcntl
import json
import os
import pty
import signal
import subprocess
import termios
import time
from contextlib import closing

import pytest
from tests.privilege import create_only, url_of
from tests.reliability.daemons import Machine, wait_until

from studio_cas.backends.opening import open_backend
from studio_cas.experiment.records import read_attempt
from studio_cas.sync.journal import Journal
from studio_cas.sync.processes import Process

SCRIPT = """
import os, sys, time
from studio import fs_tracker
folder = fs_tracker.get_artifact("w")
open(folder + "/pid", "w").write(str(os.getpid()))
print("ready", flush=True)
until = time.monotonic() + 300  # not for ever, should nobody be left to end it
while not os.path.exists(folder + "/go") and time.monotonic() < until:
    time.sleep(0.02)
open(folder + "/last", "w").write("last")
print("done", flush=True)
sys.exit(int(sys.argv[1]) if sys.argv[1:] else 0)
"""
STUBBORN = """
import signal
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
"""


class Runs(Machine):
    """Runs of one script in one experiment, `exp`, which captures the folder `w`."""

    def begin(self, *options, text=SCRIPT, script_arguments=(), **popen):
        work = self.base / "work"
        work.mkdir(exist_ok=True)
        (work / "script.py").write_text(text)
        words = ["run", "-e", "exp", "-c", f"{self.base}/w:w", "--no-workspace", *options, "script.py"]
        process = subprocess.Popen(
            self.command(*words, *script_arguments),
            cwd=work,
            env=self.environment,
            **{
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "process_group": 0,
                **popen,
            },
        )
        self.processes.append(process)
        output = self.home / "experiments" / "exp" / ".attempts" / "0001" / "output"
        wait_until(lambda: self.script() is not None and self.daemon() is not None, "a script beside a daemon")
        wait_until(lambda: b"ready\n" in output.read_bytes(), "a script that is ready")
        return process

    def script(self):
        """The process of the script."""
        try:
            return int((self.base / "w" / "pid").read_text())
        except (OSError, ValueError):
            return None

    def daemon(self):
        """The process of the run's daemon, once it attends the script."""
        for folder in Journal(self.home).daemons():
            holder = folder.holder()
            if holder and folder.attended():
                return holder["pid"]
        return None

    def go(self):
        """Let the script come to its end."""
        (self.base / "w" / "go").touch()

    def record(self):
        """What the store knows of the run."""
        with closing(open_backend(str(self.store))) as backend:
            return read_attempt(backend, "exp", 1, time.time())

    def ended(self):
        """The record of the end, once it is there."""
        return wait_until(lambda: self.record().ended, "a record of the end")


@pytest.fixture
def runs(request, tmp_path):
    made = Runs(tmp_path)
    if create_only(request.config):
        made.environment["STUDIOML_STORE"] = url_of(made.store)
    yield made
    pid = made.script()
    made.close()
    if pid is not None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def gone(pid):
    return not Process(pid).alive()


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: gone(pid))


def assert_nothing_is_left(runs):
    assert runs.status() == []
    assert "nothing to finish" in runs.call("sync", "--resume").stderr


def test_a_killed_runner_leaves_a_daemon_that_finishes(runs):
    process = runs.begin(script_arguments=["7"])
    kill(process.pid)
    runs.go()
    ended = runs.ended()
    assert (ended.status, ended.exit_code) == ("failed", 7)
    assert ended.problems == ("studio run was killed; the captures went on without it",)
    assert runs.content("exp/w")["last"] == b"last"
    assert runs.content("exp/output") == {"output": b"ready\ndone\n"}
    assert ended.versions["w"][1] == runs.number("exp/w")
    wait_until(lambda: runs.daemon() is None)
    assert_nothing_is_left(runs)


def test_a_run_whose_runner_was_killed_finishes_well(runs):
    process = runs.begin()
    kill(process.pid)
    runs.go()
    ended = runs.ended()
    assert (ended.status, ended.exit_code) == ("finished", 0)


def test_a_killed_script_is_a_failed_run(runs):
    process = runs.begin()
    (runs.base / "w" / "last").write_bytes(b"of a killed one")
    kill(runs.script())
    out, err = process.communicate(timeout=60)
    assert process.returncode == 137, err
    assert out == b"ready\n"
    assert (runs.record().status, runs.record().exit_code) == ("failed", 137)
    assert runs.content("exp/w")["last"] == b"of a killed one"
    assert_nothing_is_left(runs)


SAVING = """
import os, signal, sys
def save(number, frame):
    open(folder + "/last", "w").write("saved")
    sys.exit(5)
signal.signal(signal.SIGHUP, save)
"""


def take_terminal():
    """In the child: a session of its own on the terminal that is its stdin."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_a_terminal_that_goes_away_stops_the_script_and_all_is_captured(runs):
    terminal, ours = pty.openpty()
    streams = {"stdin": ours, "stdout": ours, "stderr": ours, "process_group": None, "preexec_fn": take_terminal}
    runs.begin(text=SAVING + SCRIPT, **streams)
    os.close(ours)
    os.close(terminal)
    ended = runs.ended()
    assert (ended.status, ended.exit_code) == ("stopped", 5)
    assert runs.content("exp/w")["last"] == b"saved"


def test_a_killed_daemon_is_followed_by_another(runs):
    process = runs.begin("--interval", "1s")
    wait_until(lambda: any(row["version"] for row in runs.told("exp/w")))
    first, daemon = runs.number("exp/w"), runs.daemon()
    kill(daemon)
    wait_until(lambda: runs.daemon() not in {None, daemon})
    (runs.base / "w" / "middle").write_bytes(b"middle")
    wait_until(lambda: "middle" in runs.content("exp/w"))
    runs.go()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, b"ready\ndone\n"), err
    assert b"another one goes on" in err
    assert runs.content("exp/w")["last"] == b"last"
    assert runs.record().status == "finished"
    assert runs.record().ended.versions["w"] == (first, runs.number("exp/w"))
    assert_nothing_is_left(runs)


def test_a_daemon_that_is_killed_at_the_end_is_followed_by_another(runs):
    process = runs.begin()
    os.kill(runs.daemon(), signal.SIGSTOP)
    runs.go()
    wait_until(lambda: gone(runs.script()))
    os.kill(runs.daemon(), signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert runs.content("exp/w")["last"] == b"last"
    assert runs.record().status == "finished"


def test_daemons_that_die_all_the_time_are_given_up_and_the_script_is_not(runs):
    process = runs.begin()
    killed = set()
    while len(killed) < 4:
        found = wait_until(lambda: daemon if (daemon := runs.daemon()) not in killed else None)
        killed.add(found)
        kill(found)
    runs.go()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 8, err
    assert b"no sync daemon could be kept alive" in err
    assert runs.record().status == "finished"
    assert runs.call("sync", "--resume").returncode == 0
    assert runs.content("exp/w")["last"] == b"last"


@pytest.mark.parametrize("script_lives", [True, False])
def test_where_runner_and_daemon_are_killed_resume_finishes(runs, script_lives):
    process = runs.begin()
    daemon = runs.daemon()
    kill(process.pid)
    kill(daemon)
    assert [row["state"] for row in runs.status("exp/w")] == ["interrupted"]
    if script_lives:
        resuming = subprocess.Popen(runs.command("sync", "--resume"), env=runs.environment)
        runs.processes.append(resuming)
        wait_until(lambda: runs.daemon() == resuming.pid)
        runs.go()
        assert resuming.wait(60) == 0
        assert runs.content("exp/w").keys() == {"pid", "go", "last"}
        assert (runs.record().status, runs.record().exit_code) == ("failed", 1)  # nobody was left to read its output
    else:
        (runs.base / "w" / "last").write_bytes(b"last")
        kill(runs.script())
        done = runs.call("sync", "--resume")
        assert done.returncode == 0, done.stderr
        ended = runs.ended()
        assert (ended.status, ended.exit_code) == ("failed", None)
        assert "how the script ended is not known" in ended.problems[-1]
    assert runs.content("exp/w")["last"] == b"last"
    assert runs.content("exp/output")["output"].startswith(b"ready\n")
    assert_nothing_is_left(runs)


def test_ctrl_c_gives_the_script_time_and_then_kills_it(runs):
    process = runs.begin("--grace", "1s", text=STUBBORN + SCRIPT)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 137
    assert b"which has 1 s to end" in err
    assert b"did not end within 1 s of being asked to: it is killed" in err
    assert runs.record().status == "stopped"
    assert "pid" in runs.content("exp/w")


def press_once(process):
    """Ctrl-C, until it was heard: a second one that comes too soon would be the same."""
    os.killpg(process.pid, signal.SIGINT)
    while b"s to end" not in (line := process.stderr.readline()):
        assert line


def test_ctrl_c_twice_kills_the_script_and_all_is_captured(runs):
    process = runs.begin(text=STUBBORN + SCRIPT, bufsize=0)
    (runs.base / "w" / "last").write_bytes(b"last")
    press_once(process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 137, err
    assert runs.content("exp/w")["last"] == b"last"
    assert (runs.record().status, runs.record().exit_code) == ("stopped", 137)


def test_ctrl_c_three_times_stops_now_and_the_journal_remembers(runs):
    process = runs.begin(text=STUBBORN + SCRIPT, bufsize=0)
    (runs.base / "w" / "last").write_bytes(b"last")
    daemon = runs.daemon()
    os.kill(daemon, signal.SIGSTOP)  # the last captures take for ever
    press_once(process)
    os.killpg(process.pid, signal.SIGINT)
    while b"script killed" not in (line := process.stderr.readline()):
        assert line
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"studio sync --resume" in err
    wait_until(lambda: gone(daemon))
    assert (runs.record().status, runs.record().exit_code) == ("stopped", 137)
    assert "last" not in runs.content("exp/w")
    assert runs.call("sync", "--resume").returncode == 0
    assert runs.content("exp/w")["last"] == b"last"
    assert_nothing_is_left(runs)


def test_a_preempted_machine_captures_what_is_small_at_once(runs):
    process = runs.begin("--interval", "1h", text=STUBBORN + SCRIPT)
    wait_until(lambda: runs.number("exp/w") == 1)
    (runs.base / "w" / "new").write_bytes(b"new")
    os.kill(process.pid, signal.SIGTERM)  # the script goes on, and the machine has seconds to live
    wait_until(lambda: "new" in runs.content("exp/w"))
    assert not gone(runs.script())
    runs.go()
    process.communicate(timeout=60)
    assert runs.content("exp/w")["last"] == b"last"
    assert runs.record().status == "stopped"


def test_a_daemon_that_is_told_to_go_captures_at_once_and_stays(runs):
    process = runs.begin("--interval", "1h")
    (runs.base / "w" / "new").write_bytes(b"new")
    os.kill(runs.daemon(), signal.SIGTERM)
    wait_until(lambda: "new" in runs.content("exp/w"))
    runs.go()
    assert process.wait(60) == 0
    assert runs.content("exp/w")["last"] == b"last"


def test_a_script_asks_for_a_version_of_its_run(runs):
    text = SCRIPT + (
        "open(folder + '/asked', 'w').write('1')\nprint(fs_tracker.commit('w'))\n"
        "open(folder + '/asked', 'w').write('2')\n"
    )
    process = runs.begin("--interval", "1h", text=text.replace("sys.exit(int", "(int"))
    runs.go()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    name = out.split()[-1].decode()
    with_it = [content for content in runs.contents("exp/w") if content.get("asked") == b"1"]
    assert name.startswith("exp/w@")
    assert with_it
    assert runs.content("exp/w")["asked"] == b"2"


def test_what_a_run_keeps_is_shown_and_cannot_be_stopped_alone(runs):
    process = runs.begin()
    rows = {row["tag"]: row for row in json.loads(runs.call("sync", "status", "--json").stdout)}
    assert {"w", "output"} <= set(rows)
    assert rows["w"]["pid"] == runs.daemon()
    done = runs.call("sync", "stop", "exp/w")
    assert done.returncode == 6
    assert "belongs to a run" in done.stderr
    runs.go()
    assert process.wait(60) == 0
    assert_nothing_is_left(runs)


@pytest.mark.own_store
def test_a_runner_that_is_killed_before_its_script_leaves_a_record_that_says_so(runs):
    data = runs.base / "data"
    data.mkdir()
    files = [(data / str(number)).open("wb") for number in range(80)]  # each costs the capture some patience
    process = subprocess.Popen(
        runs.command("run", "-e", "exp", "-co", f"{data}:d", "--no-workspace", "--", "true"),
        env=runs.environment,
        stderr=subprocess.PIPE,
    )
    runs.processes.append(process)
    wait_until((runs.store / "experiments/exp/attempts/0001/created").exists, "a record of the run")
    time.sleep(0.2)
    kill(process.pid)
    ended = runs.ended()
    assert (ended.status, ended.exit_code) == ("failed", None)
    assert ended.problems == ("studio run was killed before the script began",)
    wait_until(lambda: not any(folder.holder() for folder in Journal(runs.home).daemons()))
    assert_nothing_is_left(runs)
    for file in files:
        file.close()


def test_a_mistake_before_the_script_leaves_no_daemon(runs):
    (runs.base / "work").mkdir()
    done = runs.call("run", "-co", f"{runs.base}/missing:m", "--", "true")
    assert done.returncode == 4
    assert Journal(runs.home).daemons() == []
