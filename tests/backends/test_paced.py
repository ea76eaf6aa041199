"""Traffic below a rate."""

import threading

import pytest

from studio_cas.backends.memory import MemoryBackend
from studio_cas.backends.paced import Paced
from studio_cas.testing.backend_contract import BackendContract


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def paced(clock):
    return Paced(MemoryBackend(), 1000.0, clock=clock, sleep=clock.sleep)


def test_a_burst_costs_nothing(paced, clock):
    paced.create("a", [b"x" * 1000])
    assert clock.now == 0


def test_what_is_sent_takes_its_time(paced, clock):
    for number in range(11):
        paced.create(str(number), [b"x" * 500, b"y" * 500])
    assert clock.now == pytest.approx(9.0)  # the first second is free, and the last one is owed


def test_an_object_larger_than_the_rate_is_paid_for_by_the_next(paced, clock):
    paced.create("a", [b"x" * 10_000])
    assert clock.now == 0
    paced.create("b", [b"x"])
    assert clock.now == pytest.approx(9.0)


def test_what_is_read_counts_too(paced, clock):
    paced.create("a", [b"x" * 1000])
    for _ in range(5):
        assert len(paced.read("a")) == 1000
    assert paced.read_tail("a", 10)[1] == 1000
    assert clock.now == pytest.approx(5.0)


def test_looking_costs_nothing(paced, clock):
    paced.create("a", [b"x" * 5000])
    assert [found.key for found in paced.list("")] == ["a"]
    assert paced.stat("a").size == 5000
    paced.delete("a")
    assert clock.now == 0


def test_several_threads_share_the_rate(clock):
    lock = threading.Lock()

    def sleep(seconds):
        with lock:
            clock.now += seconds

    paced = Paced(MemoryBackend(), 1000.0, clock=clock, sleep=sleep)
    threads = [
        threading.Thread(target=lambda n=n: [paced.create(f"{n}/{i}", [b"x" * 500]) for i in range(10)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.now >= 18.0


class TestContract(BackendContract):
    """It changes nothing but the time."""

    @pytest.fixture
    def backend(self):
        return Paced(MemoryBackend(), 1e12)
