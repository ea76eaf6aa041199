"""What requests cost: so many for a TiB, for a minute of a job, for a small pull; and the estimate of a month."""

import os

import pytest

from studio_cas.backends.memory import MemoryBackend
from studio_cas.backends.metered import Metered
from studio_cas.store.cost import GIB, LISTS_OF_A_VERSION, MONTH, PRICES, READS_OF_A_VERSION, Cost, estimate
from studio_cas.store.store import open_store
from studio_cas.store.versions import resolve
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise

MIB = 1 << 20
NOW = 1.8e9
DOLLARS_A_TIB = 0.35
WRITES_A_MINUTE = 3
ROUND_TRIPS = 4


class Cloud(MemoryBackend):
    """A memory store that says it is a bucket, and forgets what is in large objects."""

    url = "gs://bucket/team"
    local = False

    def create(self, key, parts):
        super().create(key, parts if sum(map(len, parts)) < MIB else [])


@pytest.fixture
def cloud():
    return Metered(Cloud(clock=lambda: NOW))


@pytest.fixture
def store(cloud, tmp_path):
    with open_store(cloud, home=tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def counted(store, work):
    """What `work` asks of the store."""
    before = store.backend.counts
    work()
    return store.backend.counts.since(before)


def test_a_tebibyte_is_captured_for_little(store, work):
    """Of data that nothing compresses; what each capture asks, whatever its size, counts in full."""
    size = 256 * MIB
    (work / "weights").write_bytes(os.urandom(size))
    counts = counted(store, lambda: capture(store, work, "exp", "w"))
    for prices in PRICES.values():
        dollars = counts.class_a * prices.class_a + counts.class_b * prices.class_b
        assert dollars * 1024 * GIB / size <= DOLLARS_A_TIB
    assert counts.bytes_out < 1.01 * size


@pytest.mark.parametrize("files", [1, 3000])
def test_a_minute_of_a_job_writes_little_for_a_changed_artifact(store, work, files):
    """Also where small packs are merged on the way, and where the manifest has a pack of its own."""
    for number in range(files):
        (work / f"file-{number:05}").write_bytes(b"%d" % number * 3000 if files == 1 else b"%d" % number)
    capture(store, work, "exp", "w")
    for minute in range(40):
        (work / "file-00000").write_bytes(os.urandom(50_000))
        with (work / "log").open("ab") as log:
            log.write(b"step %d\n" % minute * 500)
        counts = counted(store, lambda: capture(store, work, "exp", "w"))
        assert counts.create <= WRITES_A_MINUTE


def test_a_minute_without_a_change_writes_nothing(store, work):
    (work / "file").write_bytes(b"content" * 1000)
    capture(store, work, "exp", "w")
    counts = counted(store, lambda: capture(store, work, "exp", "w"))
    assert (counts.create, counts.class_a, counts.class_b) == (0, 1, 1)


def test_a_version_asks_what_the_estimate_says(store, work):
    (work / "file").write_bytes(os.urandom(50_000))
    capture(store, work, "exp", "w")
    (work / "file").write_bytes(os.urandom(50_000))
    counts = counted(store, lambda: capture(store, work, "exp", "w"))
    assert (counts.list, counts.class_b) == (LISTS_OF_A_VERSION, READS_OF_A_VERSION)


def test_an_artifact_of_one_chunk_is_pulled_in_few_round_trips(store, cloud, work, tmp_path):
    """On a machine that knows nothing of the store; as many requests in all as there may be one after the other."""
    (work / "file").write_bytes(os.urandom(200_000))
    capture(store, work, "exp", "w")

    def pull():
        with open_store(cloud, home=tmp_path / "other") as other:
            materialise(other, resolve(other, "exp/w"), tmp_path / "out")

    counts = counted(store, pull)
    assert counts.class_a + counts.class_b + counts.delete <= ROUND_TRIPS
    assert (tmp_path / "out" / "file").read_bytes() == (work / "file").read_bytes()


def test_the_estimate_counts_what_is_there_and_what_the_last_month_made(store, cloud, work):
    (work / "file").write_bytes(os.urandom(50_000))
    capture(store, work, "exp", "w")  # format.json, a pack, a version
    stats = list(cloud.list(""))
    stored = sum(found.size for found in stats)
    assert len(stats) == 3
    assert estimate(store, NOW) == Cost(PRICES["gs"], stored, 3, 1, 3 + LISTS_OF_A_VERSION, READS_OF_A_VERSION)
    assert estimate(store, NOW + MONTH + 1) == Cost(PRICES["gs"], stored, 3, 0, 0, 0)


def test_dollars_are_amounts_times_prices():
    cost = Cost(PRICES["s3"], 100 * GIB, 4000, 0, 10_000, 50_000)
    assert cost.storage == pytest.approx(2.30)
    assert cost.requests == pytest.approx(0.05 + 0.02)
    assert cost.total == pytest.approx(2.37)


@pytest.mark.own_store
def test_a_store_that_is_no_cloud_has_no_cost(tmp_path):
    with open_store(tmp_path / "store", home=tmp_path / "home") as local:
        assert estimate(local, NOW) is None
