"""`fs_tracker.commit`: a version now, from the daemon, or without one."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest
from tests.reliability.daemons import wait_until

COMMIT = """
import sys
from studio import fs_tracker
print(fs_tracker.commit(sys.argv[1], timeout=float(sys.argv[2])))
"""


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def script(machine, work):
    """Ask for a version, as a script of the run `exp` would."""
    machine.environment |= {
        "STUDIOML_EXPERIMENT": "exp",
        "STUDIOML_ARTIFACT_MAPPING": json.dumps({"w": str(work)}),
    }

    def ask(tag="w", timeout=60.0, text=COMMIT):
        command = [sys.executable, "-c", text, tag, str(timeout)]
        return subprocess.run(command, env=machine.environment, capture_output=True, text=True, check=False)

    return ask


def version(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_daemon_makes_a_version_of_what_is_there_now(machine, work, script):
    machine.start(work, "exp/w", "--interval", "1h")
    for number in range(1, 6):
        (work / "file").write_bytes(b"%d" % number)
        assert version(script()) == f"exp/w@{machine.number('exp/w')}"
        assert machine.content("exp/w") == {"file": b"%d" % number}
    [row] = machine.status()
    assert row["version"]["number"] == machine.number("exp/w")


def test_without_a_change_it_is_the_version_there_is(machine, work, script):
    machine.start(work, "exp/w", "--interval", "1h")
    (work / "file").write_bytes(b"x")
    first = version(script())
    assert version(script()) == first


def test_without_a_daemon_the_script_makes_it_itself(machine, work, script):
    (work / "file").write_bytes(b"x")
    assert version(script()) == "exp/w@1"
    assert machine.content("exp/w") == {"file": b"x"}


def test_after_the_daemon_was_killed_the_script_makes_it_in_the_same_store(machine, work, script):
    process = machine.start(work, "exp/w", "--interval", "1h", "--exclude", "*.tmp")
    wait_until(lambda: machine.number("exp/w") == 1)
    process.kill()
    process.wait()
    (work / "file").write_bytes(b"x")
    (work / "y.tmp").write_bytes(b"y")
    machine.environment["STUDIOML_STORE"] = str(machine.base / "elsewhere")
    assert version(script()) == "exp/w@2"
    assert machine.content("exp/w") == {"file": b"x"}


def test_a_daemon_that_hangs_is_an_error_that_says_how_long_it_took(machine, work, script):
    process = machine.start(work, "exp/w", "--interval", "1h")
    wait_until(lambda: machine.number("exp/w") == 1)
    os.kill(process.pid, signal.SIGSTOP)
    done = script(timeout=0.5)
    assert "TransientError: no version of exp/w within 0.5 s" in done.stderr
    os.kill(process.pid, signal.SIGCONT)
    (work / "file").write_bytes(b"x")
    assert version(script()) == "exp/w@2"


@pytest.mark.own_store
def test_what_keeps_a_version_from_being_made_is_told(machine, work, script):
    machine.start(work, "exp/w", "--interval", "1h")
    wait_until(lambda: machine.number("exp/w") == 1)
    machine.store.rename(machine.base / "away")
    done = script()
    assert "StoreUnavailableError: exp/w: the store" in done.stderr
    (machine.base / "away").rename(machine.store)
    (work / "file").write_bytes(b"x")
    assert version(script()) == "exp/w@2"


def test_a_script_that_dies_while_it_waits_harms_nobody(machine, work, script):
    process = machine.start(work, "exp/w", "--interval", "1h")
    os.kill(process.pid, signal.SIGSTOP)
    [control] = machine.home.glob("sync/daemons/*/control")
    folder = os.open(control.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(f"/proc/self/fd/{folder}/control")
        asking.sendall(b'{"ask": "commit", "experiment": "exp", "tag": "w"}\n')
    os.close(folder)
    os.kill(process.pid, signal.SIGCONT)
    (work / "file").write_bytes(b"x")
    version(script())
    assert machine.content("exp/w") == {"file": b"x"}


def test_outside_of_a_run_it_is_a_folder_of_the_default_experiment(machine, work, script):
    for name in ("STUDIOML_EXPERIMENT", "STUDIOML_ARTIFACT_MAPPING"):
        del machine.environment[name]
    folder = machine.home / "experiments" / "default" / "mine"
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(b"x")
    assert version(script("mine")) == "default/mine@1"
    assert machine.content("default/mine") == {"file": b"x"}


def test_an_unknown_tag_is_an_error(machine, work, script):
    assert "this run has no artifact 'x'" in script("x").stderr


def test_a_script_in_a_transaction_keeps_its_locks(machine, work, script):
    """Who closes a file drops the locks that the same process has on it; so another process captures."""
    locked = (
        "import os\nfrom studio_cas.worktree import sqlite\n"
        "def locked():\n"
        f"    file = os.open({str(work / 'm.db')!r}, os.O_RDONLY)\n"
        "    print(sqlite.is_locked(file), flush=True)\n"  # it stays open: see above
    )
    text = (
        f"import sqlite3\nbase = sqlite3.connect({str(work / 'm.db')!r}, isolation_level=None)\n"
        "base.execute('CREATE TABLE t (a)')\nbase.execute('BEGIN EXCLUSIVE')\nlocked()\n"
        "from studio import fs_tracker\nprint(fs_tracker.commit('w'))\nlocked()\n"
    )
    done = script(text=locked + text)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "exp/w@1", "True"]
