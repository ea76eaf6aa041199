"""The sync daemon as a process: what it keeps, whatever happens to it, to the folder and to the store."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from tests.reliability.daemons import wait_until

LONG = ("--interval", "1h")  # only events capture anything


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "first").write_bytes(b"first")
    return folder


def kept(machine, work, *options):
    process = machine.start(work, "exp/w", *options)
    wait_until(lambda: machine.captured("exp/w") == 1, "a first version")
    return process


def trouble(machine):
    """The error that status shows, or None."""
    return machine.status("exp/w")[0]["trouble"]


def test_a_change_is_captured_without_waiting_for_the_period(machine, work):
    kept(machine, work, *LONG)
    (work / "second").write_bytes(b"second")
    wait_until(lambda: machine.content("exp/w") == {"first": b"first", "second": b"second"})
    (work / "deep").mkdir()
    (work / "deep" / "third").write_bytes(b"third")
    wait_until(lambda: "deep/third" in machine.content("exp/w"))
    (work / "first").unlink()
    wait_until(lambda: "first" not in machine.content("exp/w"))
    (work / "second").rename(work / "moved")
    wait_until(lambda: machine.content("exp/w") == {"moved": b"second", "deep/third": b"third"})
    [row] = machine.status()
    assert (row["state"], row["watch"]["mode"], row["trouble"]) == ("watching", "events", None)
    assert row["version"]["number"] == machine.number("exp/w")
    assert row["pending"] == 0


def test_a_quiet_folder_makes_no_version_and_no_object(machine, work):
    kept(machine, work, "--interval", "1s")
    before = sorted(str(path) for path in machine.store.rglob("*"))
    wait_until(lambda: machine.told()[0]["cycles"] >= 4)
    assert sorted(str(path) for path in machine.store.rglob("*")) == before


def test_what_is_ignored_or_excluded_wakes_nobody(machine, work):
    (work / ".studioml_ignore").write_text("scratch/\n*.tmp\n")
    (work / "scratch").mkdir()
    kept(machine, work, *LONG, "--exclude", "other/")
    cycles = machine.status()[0]["cycles"]
    (work / "scratch" / "x").write_bytes(b"x")
    (work / "y.tmp").write_bytes(b"y")
    (work / "other").mkdir()
    (work / "other" / "z").write_bytes(b"z")
    (work / "real").write_bytes(b"real")
    wait_until(lambda: "real" in machine.content("exp/w"))
    assert set(machine.content("exp/w")) == {"first", "real", ".studioml_ignore"}
    (work / "scratch" / "x2").write_bytes(b"x")
    machine.call("push", work / "real", "exp/other")  # something that takes its time
    assert machine.status()[0]["cycles"] == cycles + 1


@pytest.mark.own_store
def test_a_home_and_a_store_inside_the_folder_wake_nobody(machine, work):
    machine.home, machine.store = work / "home", work / "store"
    machine.environment |= {"STUDIOML_HOME": str(machine.home), "STUDIOML_STORE": str(machine.store)}
    kept(machine, work, *LONG)
    (work / "second").write_bytes(b"second")
    wait_until(lambda: "second" in machine.content("exp/w"))
    assert set(machine.content("exp/w")) == {"first", "second"}
    machine.call("push", work / "second", "exp/other")
    assert machine.status()[0]["cycles"] == 2


def test_a_single_file_is_kept_also_when_it_is_replaced(machine, work):
    file = work / "model.bin"
    file.write_bytes(b"one")
    process = machine.start(file, "exp/w", *LONG)
    wait_until(lambda: machine.content("exp/w") == {"model.bin": b"one"})
    (work / "new").write_bytes(b"two")
    (work / "new").replace(file)
    wait_until(lambda: machine.content("exp/w") == {"model.bin": b"two"})
    file.write_bytes(b"three")
    wait_until(lambda: machine.content("exp/w") == {"model.bin": b"three"})
    process.terminate()
    assert process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_makes_a_last_version(machine, work, number):
    process = kept(machine, work, *LONG)
    (work / "last").write_bytes(b"last")
    process.send_signal(number)
    assert process.wait(60) == 0
    assert "last" in machine.content("exp/w")
    assert machine.call("sync", "list").stdout.split()[6:8] == ["exp/w", "ended"]
    assert "nothing to finish" in machine.call("sync", "--resume").stderr


def test_a_killed_daemon_is_finished_by_resume(machine, work):
    process = kept(machine, work, *LONG)
    (work / "last").write_bytes(b"last")
    process.kill()
    process.wait()
    assert [row["state"] for row in machine.status()] == ["interrupted"]
    assert "studio sync --resume" in machine.call("sync", "status").stdout
    done = machine.call("sync", "--resume")
    assert done.returncode == 0, done.stderr
    assert "last" in machine.content("exp/w")
    assert machine.status() == []
    assert "nothing to finish" in machine.call("sync", "--resume").stderr


def test_a_daemon_that_is_killed_in_its_first_capture_is_finished(machine, work):
    with (work / "big").open("wb") as file:
        for _ in range(48):
            file.write(os.urandom(1 << 20))
    process = machine.start(work, "exp/w", "--max-rate", "6MB")  # the second pack waits for some seconds
    process.kill()
    process.wait()
    done = machine.call("sync", "--resume", "--quiet")
    assert done.returncode == 0, done.stderr
    assert machine.content("exp/w") == {path.name: path.read_bytes() for path in work.iterdir()}


def test_two_signals_end_it_at_once_and_the_journal_remembers(machine, work):
    with (work / "big").open("wb") as file:
        for _ in range(80):
            file.write(os.urandom(1 << 20))
    process = machine.start(work, "exp/w", "--max-rate", "1MB")
    process.terminate()
    wait_until(lambda: machine.told()[0]["state"] in {"stopping", "capturing"})
    process.send_signal(signal.SIGINT)  # a second SIGTERM would be one with a first that waits
    assert process.wait(60) == 130
    assert b"studio sync --resume finishes" in machine.log()
    assert [row["state"] for row in machine.status()] == ["interrupted"]


def test_a_second_daemon_is_told_which_process_has_it(machine, work):
    process = kept(machine, work, *LONG)
    done = machine.call("sync", work, "exp/w")
    assert done.returncode == 6
    assert f"by process {process.pid} already: studio sync stop exp/w ends it" in done.stderr
    link = work.with_name("link")
    link.symlink_to(work)
    assert machine.call("sync", "--once", link, "exp/w").returncode == 6
    assert machine.call("sync", "--once", work, "exp/other").returncode == 0
    assert process.poll() is None


def test_one_pair_is_stopped_and_the_other_goes_on(machine, work):
    other = work.with_name("other")
    other.mkdir()
    process = machine.start(work, "exp/w", other, "exp/o", *LONG)
    wait_until(lambda: machine.number("exp/w") and machine.number("exp/o"))
    (work / "last").write_bytes(b"last")
    assert machine.call("sync", "stop", "exp/w").returncode == 0
    assert "last" in machine.content("exp/w")
    assert [row["tag"] for row in machine.status()] == ["o"]
    again = machine.start(work, "exp/w", *LONG)
    (other / "new").write_bytes(b"new")
    wait_until(lambda: machine.content("exp/o") == {"new": b"new"})
    assert machine.call("sync", "stop", "--all").returncode == 0
    assert (process.wait(60), again.wait(60)) == (0, 0)
    assert machine.call("sync", "stop", "exp/w").returncode == 4


def test_it_ends_with_the_process_that_it_was_told(machine, work):
    text = "import sys, pathlib; sys.stdin.read(); pathlib.Path(sys.argv[1]).write_bytes(b'last')"
    with subprocess.Popen([sys.executable, "-c", text, work / "last"], stdin=subprocess.PIPE) as script:
        process = kept(machine, work, *LONG, "--until-pid", script.pid)
        assert process.poll() is None
    assert process.wait(60) == 0
    assert machine.content("exp/w") == {"first": b"first", "last": b"last"}
    done = machine.call("sync", work, "exp/w", "--until-pid", script.pid)
    assert done.returncode == 4
    assert f"there is no process {script.pid}" in done.stderr


def test_a_folder_that_is_deleted_and_made_again_is_kept_on(machine, work):
    process = kept(machine, work, *LONG)
    shutil.rmtree(work)
    wait_until(lambda: machine.told("exp/w")[0]["trouble"])
    assert trouble(machine)["kind"] == "not_found"
    assert machine.number("exp/w") == 1
    work.mkdir()
    (work / "again").write_bytes(b"again")
    wait_until(lambda: machine.content("exp/w") == {"again": b"again"})
    (work / "more").write_bytes(b"more")
    wait_until(lambda: "more" in machine.content("exp/w"))
    wait_until(lambda: trouble(machine) is None)
    process.terminate()
    assert process.wait(60) == 0


def test_a_folder_that_is_replaced_is_watched_anew(machine, work):
    process = kept(machine, work, "--interval", "2s")
    work.rename(work.with_name("gone"))
    work.mkdir()
    (work / "new").write_bytes(b"new")
    wait_until(lambda: machine.content("exp/w") == {"new": b"new"})
    wait_until(lambda: machine.told()[0]["watch"]["mode"] == "events")
    process.terminate()
    assert process.wait(60) == 0


def test_a_folder_that_is_gone_at_the_end_is_an_error_and_resume_forgets_it(machine, work):
    process = kept(machine, work, *LONG)
    shutil.rmtree(work)
    process.terminate()
    assert process.wait(60) == 4
    assert [row["state"] for row in machine.status()] == ["interrupted"]
    assert machine.call("sync", "--resume").returncode == 4
    assert machine.status() == []
    assert machine.call("sync", "--resume").returncode == 0


@pytest.mark.own_store
def test_a_store_that_is_deleted_is_said_and_never_refilled_with_half_a_version(machine, work):
    process = kept(machine, work, "--interval", "1s")
    machine.store.rename(machine.base / "away")
    (work / "second").write_bytes(b"second")
    wait_until(lambda: machine.told("exp/w")[0]["trouble"])
    assert trouble(machine)["kind"] == "store_unavailable"
    assert "is gone" in trouble(machine)["sentence"]
    assert not machine.store.exists()
    (machine.base / "away").rename(machine.store)
    wait_until(lambda: "second" in machine.content("exp/w"))
    wait_until(lambda: trouble(machine) is None)
    assert process.poll() is None


@pytest.mark.own_store
def test_another_store_in_its_place_gets_everything(machine, work):
    kept(machine, work, "--interval", "1s")
    shutil.rmtree(machine.store)
    wait_until(lambda: machine.told("exp/w")[0]["trouble"])
    machine.call("push", machine.base / "work" / "first", "other/one")  # makes a store
    wait_until(lambda: machine.content("exp/w") == {"first": b"first"})
    assert machine.number("exp/w") == 1


@pytest.mark.own_store
def test_an_unreadable_store_is_said(machine, work):
    kept(machine, work, "--interval", "1s")
    versions = machine.store / "versions"
    versions.rename(machine.base / "versions")
    versions.write_bytes(b"not a folder")
    (work / "second").write_bytes(b"second")
    wait_until(lambda: machine.told("exp/w")[0]["trouble"])
    versions.unlink()
    (machine.base / "versions").rename(versions)
    wait_until(lambda: "second" in machine.content("exp/w"))
    wait_until(lambda: machine.told("exp/w")[0]["trouble"] is None)


@pytest.mark.own_store
def test_errors_do_not_make_it_spin(machine, work):
    process = kept(machine, work, "--interval", "1s")
    shutil.rmtree(machine.store)
    (work / "second").write_bytes(b"second")
    wait_until(lambda: (machine.told("exp/w")[0]["trouble"] or {"tries": 0})["tries"] >= 2)
    cycles = machine.status()[0]["cycles"]
    for number in range(50):
        (work / f"n{number}").write_bytes(b"x")
        time.sleep(0.05)
    assert machine.status()[0]["cycles"] <= cycles + 1
    assert process.poll() is None


def test_many_pairs_in_one_daemon(machine, tmp_path):
    many = 130  # more than a user may have instances of inotify
    folders = [tmp_path / "many" / f"{number:03}" for number in range(many)]
    words = []
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(folder.name.encode())
        words += [folder, f"exp/t{folder.name}"]
    process = machine.start(*words, *LONG)
    wait_until(lambda: all(row["version"] for row in machine.told()))
    rows = machine.status()
    assert len(rows) == many
    assert {row["pid"] for row in rows} == {process.pid}
    assert {row["watch"]["mode"] for row in rows} == {"events"}
    (folders[123] / "new").write_bytes(b"new")
    wait_until(lambda: machine.content("exp/t123") == {"file": b"123", "new": b"new"})
    process.terminate()
    assert process.wait(60) == 0
    assert json.loads(machine.call("sync", "list", "--json").stdout)[7]["state"] == "ended"
