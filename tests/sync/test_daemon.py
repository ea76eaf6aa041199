"""The loop of the daemon, with a clock of its own; the daemon as a process is in tests/reliability."""

import pytest

from studio_cas.config import Storage
from studio_cas.sync.daemon import GATHER, IDLE, Daemon
from studio_cas.sync.journal import Journal
from studio_cas.sync.spec import DaemonSpec


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
