"""The pace of what a daemon does beside its captures."""

import threading

import pytest

from studio_cas.sync.pulse import LONGEST, Pulse


class Beats:
    """Beats that last until `release`, and how many began."""

    def __init__(self):
        self.count = 0
        self.release = threading.Event()
        self.began = threading.Semaphore(0)

    def __call__(self):
        self.count += 1
        self.began.release()
        assert self.release.wait(30)


@pytest.fixture
def beats():
    return Beats()


@pytest.mark.parametrize(("period", "pause"), [(3600.0, LONGEST), (60.0, LONGEST), (5.0, 5.0)])
def test_the_first_comes_at_once_and_a_long_period_changes_nothing(beats, period, pause):
    pulse = Pulse(beats, period)
    beats.release.set()
    assert pulse.due(100.0) <= 100.0
    pulse.tick(100.0)
    assert beats.began.acquire(timeout=30)
    pulse._last.result(30)
    assert pulse.due(101.0) == 100.0 + pause
    pulse.tick(99.0 + pause)
    assert not beats.began.acquire(blocking=False)
    pulse.tick(100.0 + pause)
    assert beats.began.acquire(timeout=30)
    pulse.close(wait=True)
    assert beats.count == 2


def test_one_that_hangs_is_not_overlapped_and_the_loop_does_not_spin(beats):
    pulse = Pulse(beats, 60.0)
    pulse.tick(0.0)
    assert beats.began.acquire(timeout=30)
    for now in (30.0, 60.0, 90.0):
        pulse.tick(now)
        assert pulse.due(now) == now + 1.0
    assert beats.count == 1
    beats.release.set()
    pulse._last.result(30)
    assert pulse.due(91.0) <= 91.0
    pulse.close(wait=True)
    assert beats.count == 1


def test_after_a_beat_that_failed_comes_another(beats):
    def fail():
        beats.began.release()
        raise RuntimeError

    pulse = Pulse(fail, 1.0)
    for now in (0.0, 1.0):
        pulse.tick(now)
        assert beats.began.acquire(timeout=30)
        assert pulse._last.exception(30) is not None
    pulse.close(wait=True)
