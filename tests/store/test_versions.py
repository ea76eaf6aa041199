"""Versions that are listed where each read is a round trip."""

import dataclasses
import threading

import pytest

from studio_cas.backends.memory import MemoryBackend
from studio_cas.backends.metered import Metered
from studio_cas.errors import TransientError
from studio_cas.formats import keys, version
from studio_cas.store.store import open_store
from studio_cas.store.versions import READ_AHEAD, list_versions
from studio_cas.worktree.capture import capture

COUNT = 60


class Far(MemoryBackend):
    """A memory store whose reads are round trips; of `lost` they fail."""

    local = False
    lost = ""

    def read(self, key, offset=0, length=None):
        if key == self.lost:
            raise TransientError("away")
        return super().read(key, offset, length)


@pytest.fixture
def store(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    with open_store(Metered(Far()), home=tmp_path / "home") as opened:
        first = capture(opened, tmp_path / "file", "exp", "w").version
        for number in range(2, COUNT + 1):
            record = version.encode(dataclasses.replace(first, number=number))
            opened.backend.create(keys.version("exp", "w", number), [record])
        yield opened


def test_all_come_newest_first(store):
    assert [found.number for found in list_versions(store, "exp", "w")] == list(range(COUNT, 0, -1))


def test_a_limit_asks_for_no_more(store):
    before = store.backend.counts
    assert [found.number for found in list_versions(store, "exp", "w", 20)] == list(range(COUNT, COUNT - 20, -1))
    counts = store.backend.counts.since(before)
    assert (counts.list, counts.read) == (1, 20)


def test_who_takes_one_reads_one(store):
    before = store.backend.counts
    assert next(iter(list_versions(store, "exp", "w"))).number == COUNT
    assert store.backend.counts.since(before).read == 1


def test_who_stops_early_reads_little_more_and_leaves_no_thread(store):
    before, threads = store.backend.counts, threading.active_count()
    listing = list_versions(store, "exp", "w")
    for _ in range(10):
        next(listing)
    listing.close()
    assert store.backend.counts.since(before).read <= 10 + READ_AHEAD
    assert threading.active_count() == threads


def test_an_error_comes_in_its_place(store):
    store.backend.inner.lost = keys.version("exp", "w", COUNT - 5)
    listing = list_versions(store, "exp", "w")
    assert [next(listing).number for _ in range(5)] == list(range(COUNT, COUNT - 5, -1))
    with pytest.raises(TransientError):
        next(listing)


def test_nothing_is_listed_where_there_is_nothing(store):
    assert list(list_versions(store, "exp", "none")) == []
    assert list(list_versions(store, "exp", "w", 0)) == []
