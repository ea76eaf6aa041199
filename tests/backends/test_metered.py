"""Metered counts requests and bytes, also from many threads."""

import pytest

from studio_cas.backends.memory import MemoryBackend
from studio_cas.backends.metered import Counts, Metered, counts_of_process
from studio_cas.errors import NotFoundError, ObjectExistsError
from studio_cas.testing.backend_contract import BackendContract, race


class TestMeteredMemory(BackendContract):
    rounds = 10

    @pytest.fixture
    def backend(self):
        return Metered(MemoryBackend())


def test_every_class_of_request_is_counted():
    store = Metered(MemoryBackend())
    store.create("a", [b"123", b"45"])
    store.read("a", 1, 2)
    store.read_tail("a", 3)
    store.stat("a")
    list(store.list(""))
    list(store.list_names(""))
    store.delete("a")
    assert store.counts == Counts(create=1, read=2, list=2, stat=1, delete=1, bytes_in=5, bytes_out=5)


def test_failed_requests_count_and_move_no_bytes():
    store = Metered(MemoryBackend())
    store.create("a", [b"1"])
    with pytest.raises(ObjectExistsError):
        store.create("a", [b"12345"])
    with pytest.raises(NotFoundError):
        store.read("b")
    assert store.counts == Counts(create=2, read=1, bytes_out=1)


def test_no_count_is_lost_between_threads():
    store = Metered(MemoryBackend())
    store.create("a", [b"12"])

    def work(_number):
        for _ in range(200):
            store.read("a")
        return True

    race(work)
    assert (store.counts.read, store.counts.bytes_in) == (3200, 6400)


def test_a_snapshot_stays_as_it_is():
    store = Metered(MemoryBackend())
    before = store.counts
    store.create("a", [b"1"])
    assert before == Counts()


def test_a_listing_counts_once_for_each_thousand_names():
    store = Metered(MemoryBackend())
    for number in range(2001):
        store.inner.create(f"a/{number:05}", [b""])
    for taken, requests in ((0, 1), (1000, 1), (1001, 2), (2001, 3)):
        before = store.counts
        for _ in zip(range(taken), store.list(""), strict=False):
            pass
        assert store.counts.since(before).list == requests


def test_the_counts_of_a_process_are_those_of_all_its_stores():
    one, other = Metered(MemoryBackend()), Metered(MemoryBackend())
    before = counts_of_process()
    one.create("a", [b"1"])
    other.create("a", [b"23"])
    other.stat("a")
    assert counts_of_process().since(before) == Counts(create=2, stat=1, bytes_out=3)
    assert (counts_of_process().since(before).class_a, counts_of_process().since(before).class_b) == (2, 1)
