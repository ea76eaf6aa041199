"""The loop of the daemon, with a clock of its own; the daemon as a process is in tests/reliability."""

import pytest
from tests.reliability.folders import fill, snapshot

from studio_cas.config import Storage
from studio_cas.errors import TransientError
from studio_cas.formats import keys
from studio_cas.store.collecting import collect
from studio_cas.store.spooled import open_spooled
from studio_cas.store.store import open_store
from studio_cas.store.versions import resolve
from studio_cas.sync.daemon import GATHER, IDLE, Daemon
from studio_cas.sync.journal import Journal
from studio_cas.sync.spec import DaemonSpec, Pair
from studio_cas.testing.moody_backend import Moody
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise


@pytest.fixture
def now():
    return [1000.0]


@pytest.fixture
def daemon(tmp_path, now):
    spec = DaemonSpec((), Storage("memory://"), tmp_path / "home", "anna", period=3600.0)
    made = Daemon(Journal(tmp_path / "home").enter(spec), spec, print, print, clock=lambda: now[0])
    made._pulse.tick(now[0])
    yield made
    made._pulse.close(wait=True)
    made._bell._selector.close()


def test_what_wakes_it_a_moment_too_early_to_look_is_looked_at_soon(daemon, now):
    daemon._gather()
    assert daemon._pause() == IDLE
    now[0] += GATHER - 0.001
    daemon._gather()  # too early
    now[0] += 0.002
    assert daemon._pause() == 0.0
    daemon._gather()
    assert daemon._pause() > 1.0


def test_a_last_version_that_waited_and_lost_packs_to_a_collector_is_captured_again(tmp_path, monkeypatch):
    home, remote = tmp_path / "home", Moody()
    work, theirs = (fill(tmp_path / name, big=300_000) for name in ("work", "theirs"))
    (work / "own").write_bytes(b"own")
    with open_spooled(remote, home=home) as store, open_store(remote.inner, home=tmp_path / "elsewhere") as other:
        capture(store, theirs, "them", "data")
        remote.error = TransientError("connection refused")
        assert capture(store, work, "exp", "tag").bytes_stored < 100_000
        remote.error = None
        remote.inner.delete(keys.version("them", "data", 1))
        assert collect(other, grace=0.0).data.objects
    monkeypatch.setattr(Daemon, "_open_store", lambda _: open_spooled(remote, home=home))
    spec = DaemonSpec((Pair(work, "exp", "tag"),), Storage("memory://"), home, "anna")
    ending = Daemon(Journal(home).enter(spec), spec, print, print, once=True).run()
    assert (ending.code, ending.problems) == (0, ())
    with open_store(remote.inner, home=tmp_path / "elsewhere") as other:
        materialise(other, resolve(other, "exp/tag"), tmp_path / "out", links="allow")
    assert snapshot(tmp_path / "out") == snapshot(work)
