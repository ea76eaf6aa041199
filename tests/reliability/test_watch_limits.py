"""Where the system has too few watches, or loses events: a sweep finds everything, and status says how it watches."""

import fcntl
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.reliability.daemons import wait_until

QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")
LENGTH = 16_384  # the kernel's own choice


@contextmanager
def queue_of(events=LENGTH):
    """The queue of inotify has this length, for everybody on this machine: one session at a time makes it short."""
    with QUEUE.open() as queue:
        fcntl.flock(queue, fcntl.LOCK_SH if events == LENGTH else fcntl.LOCK_EX)
        before = int(QUEUE.read_text())
        if events == LENGTH <= before:
            yield
            return
        try:
            QUEUE.write_text(str(events))
        except OSError as error:
            pytest.skip(f"{QUEUE} cannot be changed here: {error.strerror}")
        try:
            yield
        finally:
            QUEUE.write_text(str(max(before, LENGTH)))  # a session that was killed may have left it short


@pytest.fixture
def watches(machine):
    """Let the daemons of `machine` have so many watches, and nobody else: a user namespace has limits of its own."""

    def watches(number):
        text = 'echo "$0" > /proc/sys/user/max_inotify_watches && exec "$@"'
        machine.prefix = ("unshare", "--user", "--map-root-user", "sh", "-c", text, str(number))
        try:
            tried = subprocess.run([*machine.prefix, "true"], capture_output=True, check=False)
        except FileNotFoundError:
            pytest.skip("unshare is not installed")
        if tried.returncode:
            pytest.skip(f"there is no user namespace here: {tried.stderr.decode().strip()}")

    return watches


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    for number in range(30):
        (folder / f"{number:02}").mkdir(parents=True)
    return folder


def watch(machine):
    return machine.status()[0]["watch"]


def test_without_any_watch_it_sweeps(machine, work, watches):
    watches(0)
    machine.start(work, "exp/w", "--interval", "1s")
    wait_until(lambda: machine.captured("exp/w") == 1)
    wait_until(lambda: "watch limit" in watch(machine)["reason"])
    assert watch(machine)["mode"] == "sweep only"
    (work / "07" / "file").write_bytes(b"x")
    wait_until(lambda: machine.content("exp/w") == {"07/file": b"x"})


def test_with_too_few_watches_it_says_so_and_sweeps(machine, work, watches):
    watches(12)
    machine.start(work, "exp/w", "--interval", "1s")
    wait_until(lambda: machine.captured("exp/w") == 1)
    wait_until(lambda: watch(machine)["mode"] == "partial")
    assert "of 31 folders are not watched" in watch(machine)["reason"]
    for number in range(30):
        (work / f"{number:02}" / "file").write_bytes(b"x")
    wait_until(lambda: len(machine.content("exp/w")) == 30)


def test_watches_that_run_out_later_are_noticed(machine, work, watches):
    watches(40)
    machine.start(work, "exp/w", "--interval", "1s")
    wait_until(lambda: watch(machine)["mode"] == "events")
    for number in range(40):
        (work / f"more-{number}").mkdir()
    wait_until(lambda: watch(machine)["mode"] == "partial")
    (work / "more-39" / "file").write_bytes(b"x")
    wait_until(lambda: machine.content("exp/w") == {"more-39/file": b"x"})


def test_events_that_the_system_drops_are_made_good_by_a_sweep(machine, work):
    with queue_of(200):
        machine.start(work, "exp/w", "--interval", "1h")
        wait_until(lambda: machine.captured("exp/w") == 1)
        for number in range(3000):
            (work / f"{number % 30:02}" / f"{number}").write_bytes(b"x")
        wait_until(lambda: machine.told()[0]["version"]["files"] == 3000)


def test_a_queue_that_overflows_all_the_time_is_not_listened_to_for_a_while(machine, work):
    """With more folders than the queue is long, each overflow leads to the next one."""
    with queue_of(16):
        machine.start(work, "exp/w", "--interval", "1h")
        wait_until(lambda: machine.captured("exp/w") == 1)
        for number in range(1000):
            (work / f"{number % 30:02}" / f"{number}").write_bytes(b"x")
        wait_until(lambda: watch(machine)["mode"] == "sweep only")
        assert "events were lost" in watch(machine)["reason"]
        wait_until(lambda: machine.told()[0]["version"]["files"] == 1000)
        assert b"Inotify" not in machine.log()


def test_of_thirty_thousand_files_in_a_burst_none_is_missed(machine, work):
    with queue_of():
        machine.start(work, "exp/w", "--interval", "1h")
        wait_until(lambda: machine.captured("exp/w") == 1)
        for number in range(30_000):
            descriptor = os.open(work / f"{number % 30:02}" / f"{number}", os.O_WRONLY | os.O_CREAT)
            os.close(descriptor)
        wait_until(lambda: machine.told()[0]["version"]["files"] == 30_000)


def test_folders_made_in_a_burst_are_watched_or_found(machine, work):
    with queue_of():
        machine.start(work, "exp/w", "--interval", "1h")
        wait_until(lambda: machine.captured("exp/w") == 1)
        for number in range(1000):
            (work / f"a{number}" / "b").mkdir(parents=True)
            (work / f"a{number}" / "b" / "file").write_bytes(b"x")
        wait_until(lambda: machine.told()[0]["version"]["files"] == 1000)
        wait_until(lambda: watch(machine)["mode"] == "events")
        (work / "a500" / "b" / "late").write_bytes(b"x")
        wait_until(lambda: machine.told()[0]["version"]["files"] == 1001)
