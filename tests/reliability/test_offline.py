"""A real server that stops answering, or is killed, in the middle of captures; a spool on a disk that is full."""

import json
import os
import random
import signal
import subprocess
import threading
import time

import pytest
from tests.reliability.folders import fill, snapshot
from tests.reliability.test_full_disk import MIB, ballast, one_sentence, small  # noqa: F401  # a fixture

from studio_cas.backends.gcs import GcsBackend
from studio_cas.backends.metered import Metered
from studio_cas.backends.retrying import Budget, Retrying
from studio_cas.errors import NoSpaceError, TransientError
from studio_cas.store.spooled import open_spooled
from studio_cas.store.store import open_store
from studio_cas.store.versions import latest, list_versions, resolve
from studio_cas.sync.engine import REMOTE_CHECK, Keeper
from studio_cas.testing import gcs_emulator as emulator
from studio_cas.testing.faulty_gcs import FaultyGcs
from studio_cas.testing.faulty_http import serve
from studio_cas.testing.moody_backend import Moody
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise

DEADLINE = 120.0
SOON = Budget(attempts=2, seconds=5.0, first=0.01)


@pytest.fixture
def disk(tmp_path):
    """Where a server keeps its objects, which outlive it."""
    if emulator.program() is None:
        pytest.skip("fake-gcs-server is not installed")
    return tmp_path / "objects"


def bucket(server, timeout=60.0):
    return Retrying(Metered(GcsBackend("bucket-one", "p", endpoint=server.endpoint, timeout=timeout)), SOON, unmet=SOON)


def wait_for(condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


class Writer:
    """Captures a folder that changes, again and again, in a thread, until it is told to stop."""

    def __init__(self, store, work):
        self.store, self.work = store, work
        self.states = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        source = random.Random(11)
        while not self._stop.wait(0.02):
            (self.work / "sub" / "small-1").write_bytes(source.randbytes(20_000))
            state = snapshot(self.work)
            try:
                made = capture(self.store, self.work, "exp", "tag")
            except TransientError:  # it went between the version and the look at what is condemned: it is made again
                continue
            assert made.version.number == len(self.states) + 1
            self.states.append(state)

    def has_made(self, more):
        wanted = len(self.states) + more
        wait_for(lambda: len(self.states) >= wanted or not self._thread.is_alive())
        assert self._thread.is_alive()

    def stop(self):
        self._stop.set()
        self._thread.join()
        return self.states


def all_went_up(server, states, tmp_path):
    with open_store(bucket(server), home=tmp_path / "elsewhere", create=False) as store:
        assert [found.number for found in list_versions(store, "exp", "tag")] == list(range(len(states), 0, -1))
        for number, state in enumerate(states, 1):
            out = tmp_path / "out"
            materialise(store, resolve(store, f"exp/tag@{number}"), out, force=True, links="allow")
            assert snapshot(out) == state


def test_a_server_that_is_killed_amid_captures_and_started_again_gets_them_all(disk, tmp_path):
    work = fill(tmp_path / "work", big=100_000)
    with emulator.gcs_emulator(disk) as server:
        store = open_spooled(bucket(server), home=tmp_path / "home")
        store.start()
        writer = Writer(store, work)
        writer.has_made(3)
    writer.has_made(5)
    assert store.state().since
    assert "can not be reached" in store.state().reason
    with emulator.gcs_emulator(disk, int(server.endpoint.rpartition(":")[2])) as again:
        writer.has_made(2)
        states = writer.stop()
        assert store.flush(DEADLINE).objects == 0
        store.close()
        all_went_up(again, states, tmp_path)


def test_a_server_that_hangs_costs_one_time_out_and_later_gets_all_versions(disk, tmp_path):
    work = fill(tmp_path / "work", big=100_000)
    with emulator.gcs_emulator(disk) as server:
        store = open_spooled(bucket(server, timeout=1.0), home=tmp_path / "home")
        store.start()
        writer = Writer(store, work)
        writer.has_made(3)
        os.kill(server.pid, signal.SIGSTOP)
        wait_for(lambda: store.state().since)
        writer.has_made(10)
        assert "gave no answer within 1 s" in store.state().reason
        os.kill(server.pid, signal.SIGCONT)
        wait_for(lambda: store.state().since is None)
        writer.has_made(2)
        states = writer.stop()
        assert store.flush(DEADLINE).objects == 0
        store.close()
        all_went_up(server, states, tmp_path)


def test_a_bucket_that_is_deleted_amid_captures_keeps_them_here_and_says_so(tmp_path):
    work = fill(tmp_path / "work", big=100_000)
    with serve(FaultyGcs) as server:
        store = open_spooled(bucket(server), home=tmp_path / "home")
        capture(store, work, "exp", "tag")
        server.bucket_exists = False
        (work / "tiny").write_bytes(b"after")
        assert capture(store, work, "exp", "tag").created
        assert store.flush(0).versions == ("exp/tag@2",)
        state = store.state()
        assert (state.kind, state.versions) == ("store_unavailable", ("exp/tag@2",))
        assert "the bucket bucket-one does not exist" in state.reason
        server.bucket_exists = True
        assert store.flush(DEADLINE).objects == 0
        assert [found.number for found in list_versions(store, "exp", "tag")] == [2, 1]
        store.close()


def test_a_store_that_is_emptied_under_a_daemon_is_noticed_and_versions_are_kept_here(tmp_path):
    work = fill(tmp_path / "work", big=1000)
    remote = Moody()
    opened = []

    def open_it():
        opened.append(open_spooled(remote, home=tmp_path / "home"))
        return opened[-1]

    now = [0.0]
    keeper = Keeper(open_it, clock=lambda: now[0])
    capture(keeper.store(), work, "exp", "tag")
    for found in list(remote.inner.list("")):
        remote.inner.delete(found.key)
    now[0] += REMOTE_CHECK + 1
    (work / "tiny").write_bytes(b"after")
    assert capture(keeper.store(), work, "exp", "tag").version.number == 2
    assert opened[-1].state().reason == "the store memory://moody is gone: it was emptied or deleted"
    (told,) = keeper.send(0)
    assert told.startswith("exp/tag@2 waits on this machine for memory://moody")
    keeper.close()
    assert list(remote.inner.list("")) == []


def test_a_daemon_keeps_versions_through_an_absence_says_so_and_is_killed_in_it(disk, tmp_path, machine):
    work = fill(tmp_path / "work", big=100_000)
    with emulator.gcs_emulator(disk) as server:
        machine.environment |= {"STUDIOML_STORE": "gs://bucket-one/p", "STORAGE_EMULATOR_HOST": server.endpoint}
        daemon = machine.start(work, "exp/tag", "--interval", "1s")
        wait_for(lambda: kept(machine)["version"])
        assert kept(machine)["waiting"]["objects"] == 0
    states = []
    for step in range(3):
        (work / "tiny").write_bytes(b"step %d" % step)
        wait_for(lambda step=step: len((kept(machine)["waiting"] or {})["versions"]) > step)
        states.append(snapshot(work))
    row = kept(machine)
    assert row["trouble"] is None
    assert row["waiting"]["since"]
    assert "can not be reached" in row["waiting"]["reason"]
    status = machine.call("sync", "status").stdout
    assert "3 versions wait on this machine for gs://bucket-one/p" in status
    assert "which is away since" in status
    assert "what to do: when it is back a studio sync that runs sends everything by itself" in status
    assert "waiting: 3 versions wait" in machine.call("doctor").stdout
    pushed = machine.call("push", work, "exp/other")
    assert pushed.returncode == 3
    daemon.kill()
    daemon.wait()
    resumed = machine.call("sync", "--resume")
    assert resumed.returncode == 3
    assert "wait on this machine" in resumed.stderr
    with emulator.gcs_emulator(disk, int(server.endpoint.rpartition(":")[2])) as again:
        resumed = machine.call("sync", "--resume")
        assert resumed.returncode == 0, resumed.stderr
        assert "went up to gs://bucket-one/p" in resumed.stderr
        with open_store(bucket(again), home=tmp_path / "elsewhere", create=False) as store:
            for number, state in enumerate(states, 2):
                materialise(store, resolve(store, f"exp/tag@{number}"), tmp_path / "out", force=True, links="allow")
                assert snapshot(tmp_path / "out") == state
    assert "wait on this machine" not in machine.call("sync", "status").stdout


def test_a_run_that_outlives_its_store_ends_well_and_its_record_goes_up_too(disk, tmp_path, machine):
    weights = tmp_path / "weights"
    script = tmp_path / "train.py"
    script.write_text(
        "import pathlib, time\n"
        f"base = pathlib.Path({str(tmp_path)!r})\n"
        "(base / 'weights' / 'w').write_bytes(b'before')\n"
        "until = time.monotonic() + 300\n"
        "while not (base / 'go').exists() and time.monotonic() < until: time.sleep(0.05)\n"
        "(base / 'weights' / 'w').write_bytes(b'after')\n"
    )
    with emulator.gcs_emulator(disk) as server:
        machine.environment |= {"STUDIOML_STORE": "gs://bucket-one/p", "STORAGE_EMULATOR_HOST": server.endpoint}
        options = ("-c", f"{weights}:w", "-e", "exp", "--interval", "1s", "--no-workspace")
        run = subprocess.Popen(
            machine.command("run", *options, script), env=machine.environment, stderr=subprocess.PIPE, text=True
        )
        with open_store(bucket(server), home=tmp_path / "elsewhere") as store:
            wait_for(lambda: latest(store, "exp", "w"))
    (tmp_path / "go").touch()
    _, told = run.communicate(timeout=DEADLINE)
    assert run.returncode == 0
    assert "on this machine for gs://bucket-one/p" in told
    with emulator.gcs_emulator(disk, int(server.endpoint.rpartition(":")[2])) as again:
        resumed = machine.call("sync", "--resume")
        assert resumed.returncode == 0, resumed.stderr
        with open_store(bucket(again), home=tmp_path / "elsewhere", create=False) as store:
            assert latest(store, "exp", "w").final
            materialise(store, resolve(store, "exp/w"), tmp_path / "out")
        assert (tmp_path / "out" / "w").read_bytes() == b"after"
        assert json.loads(machine.call("runs", "show", "exp", "--json").stdout)["status"] == "finished"


def kept(machine):
    """What `studio sync status` says of the one pair."""
    (row,) = json.loads(machine.call("sync", "status", "--json").stdout)
    return row


@pytest.mark.parametrize("left", [0, 4096, 20_000, 300_000])
def test_a_full_disk_under_the_spool_keeps_what_waits(tmp_path, small, left):  # noqa: F811
    work = fill(tmp_path / "work", big=100_000)
    remote = Moody()
    store = open_spooled(remote, home=small, budget=1 << 40)
    remote.error = TransientError("no network")
    capture(store, work, "exp", "tag")
    first = snapshot(work)
    (work / "big").write_bytes(random.Random(5).randbytes(MIB))
    filler = ballast(small, left)
    with pytest.raises(NoSpaceError) as raised:
        capture(store, work, "exp", "tag")
    one_sentence(raised.value, str(small), "No space left on device")
    assert store.state().versions == ("exp/tag@1",)
    filler.unlink()
    assert capture(store, work, "exp", "tag").version.number == 2
    remote.error = None
    assert store.flush(DEADLINE).objects == 0
    store.close()
    with open_store(remote.inner, home=tmp_path / "elsewhere") as other:
        for number, state in ((1, first), (2, snapshot(work))):
            materialise(other, resolve(other, f"exp/tag@{number}"), tmp_path / "out", force=True, links="allow")
            assert snapshot(tmp_path / "out") == state
