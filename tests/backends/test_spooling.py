"""Objects wait while their store is away: what the decorator does with each request, and its queue on the disk."""

import threading

import pytest

from studio_cas.backends.local import LocalBackend
from studio_cas.backends.spool_queue import BusyLockError, SpoolQueue, locked
from studio_cas.backends.spooling import AWAY, FULL, Rules, Spooling, read_note
from studio_cas.errors import (
    LocalIOError,
    NoSpaceError,
    NotFoundError,
    ObjectExistsError,
    PermissionDeniedError,
    StoreUnavailableError,
    TransientError,
)
from studio_cas.testing.backend_contract import BackendContract, fill
from studio_cas.testing.moody_backend import Moody

GONE = TransientError("connection refused")


@pytest.fixture
def remote():
    return Moody()


@pytest.fixture
def now():
    return [1000.0]


def spooling(remote, folder, now=None, **options):
    now = now or [0.0]
    return Spooling(remote, folder, clock=lambda: now[0], wall=lambda: now[0], jitter=lambda: 1.0, **options)


@pytest.fixture
def spool(remote, tmp_path, now):
    return spooling(remote, tmp_path / "spool", now)


class TestWhileTheStoreAnswers(BackendContract):
    @pytest.fixture
    def backend(self, spool):
        yield spool
        assert spool.breaker.error is None
        assert spool.queue.is_empty()


class TestWhileTheStoreIsAway(BackendContract):
    """The whole contract, on what waits. Only what is nowhere here can not be told to be nowhere at all."""

    @pytest.fixture
    def backend(self, remote, tmp_path):
        remote.error = GONE
        spool = spooling(remote, tmp_path / "spool", rules=Rules(answered=("",)))
        spool.went_away(GONE)
        return spool

    def test_preparing_twice_is_harmless(self, backend):
        with pytest.raises(TransientError, match="is away since"):
            backend.prepare()

    def test_a_missing_object_is_not_found(self, backend):
        for request in (backend.read, backend.stat, backend.delete):
            with pytest.raises(TransientError, match=r"memory://moody is away since .*: connection refused"):
                request("nothing")
        with pytest.raises(TransientError):
            backend.read_tail("nothing", 10)

    def test_readers_see_a_whole_object_or_none(self, backend):
        content = b"x" * 300_000
        created = threading.Event()
        seen = []

        def poll():
            while not created.is_set():
                try:
                    seen.append(bytes(backend.read("a")) == content)
                except TransientError:
                    seen.append(True)

        threads = [threading.Thread(target=poll) for _ in range(3)]
        for thread in threads:
            thread.start()
        backend.create("a", [content[:1000], content[1000:]])
        created.set()
        for thread in threads:
            thread.join()
        assert all(seen)
        assert bytes(backend.read("a")) == content

    def test_a_deleted_object_is_gone_and_may_be_created_again(self, backend):
        fill(backend, "f/g/a", "f/b")
        backend.delete("f/g/a")
        with pytest.raises(TransientError):
            backend.read("f/g/a")
        assert [found.key for found in backend.list("")] == ["f/b"]
        assert list(backend.list_names("f/")) == ["b"]
        backend.create("f/g/a", [b"again"])
        assert bytes(backend.read("f/g/a")) == b"again"


def test_the_first_object_that_fails_waits_and_later_ones_behind_it(spool, remote):
    spool.create("a", [b"1"])
    remote.error = GONE
    spool.create("b", [b"2", b"2"])
    remote.error = None
    spool.create("c", [b"3"])
    assert [(item.number, item.key) for item in spool.queue.items()] == [(1, "b"), (2, "c")]
    assert [found.key for found in remote.list("")] == ["a"]
    spool.came_back()
    assert [found.key for found in spool.list("")] == ["a", "b", "c"]
    assert [found.key for found in spool.list("", limit=2)] == ["a", "b"]
    assert [bytes(spool.read(key)) for key in "abc"] == [b"1", b"22", b"3"]
    assert (bytes(spool.read("b", 1, 5)), spool.read_tail("b", 1), spool.stat("b").size) == (b"2", (b"2", 2), 2)
    assert list(spool.list_names("")) == ["a", "b", "c"]


@pytest.mark.parametrize("error", [GONE, PermissionDeniedError("revoked"), StoreUnavailableError("no bucket")])
def test_whatever_keeps_the_store_from_taking_it_an_object_is_kept(spool, remote, error):
    remote.error = error
    spool.create("a", [b"1"])
    assert bytes(spool.read("a")) == b"1"
    note = read_note(spool.disk, AWAY)
    assert (note.since, note.kind, note.reason) == (1000.0, error.kind, str(error))


def test_nobody_waits_for_a_store_that_is_away(spool, remote):
    remote.error = GONE
    spool.create("a", [b"1"])
    asked = remote.calls
    for number in range(50):
        spool.create(f"b{number}", [b"1"])
        with pytest.raises(TransientError):
            spool.read("elsewhere")
        with pytest.raises(TransientError):
            list(spool.list("elsewhere/"))
    assert remote.calls == asked


def test_a_refused_deletion_or_read_says_nothing_of_the_store(spool, remote):
    spool.create("a", [b"1"])
    remote.error = PermissionDeniedError("may not delete")
    for request in (spool.delete, spool.read, spool.stat):
        with pytest.raises(PermissionDeniedError, match="may not delete"):
            request("a")
    assert spool.breaker.error is None


def test_the_error_of_a_request_that_cannot_wait_has_the_class_of_the_reason(remote, tmp_path):
    spool = spooling(remote, tmp_path / "spool", rules=Rules(waits=lambda key: key != "owner"))
    remote.error = PermissionDeniedError("the credential was revoked")
    spool.create("a", [b"1"])
    with pytest.raises(PermissionDeniedError, match=r"is away since .*: the credential was revoked"):
        spool.create("owner", [b"me"])
    assert [item.key for item in spool.queue.items()] == ["a"]


def test_metadata_is_remembered_and_of_a_folder_the_newest(remote, tmp_path):
    rules = Rules(remembered=("v/", "t/", "format"), newest=("v/",), answered=("v/",))
    spool = spooling(remote, tmp_path / "spool", rules=rules)
    for key in ("v/e/9", "v/e/8", "t/0", "d/0", "format"):
        spool.create(key, [key.encode() * 3])
    remote.inner.create("t/1", [b"0123456789"])
    assert bytes(spool.read("t/1", 2, 3)) == b"234"
    remote.error = GONE
    assert [found.key for found in spool.list("v/e/", limit=1)] == ["v/e/8"]
    assert bytes(spool.read("v/e/8")) == b"v/e/8" * 3
    assert (bytes(spool.read("t/0", 1, 2)), bytes(spool.read("format"))) == (b"/0", b"format" * 3)
    assert bytes(spool.read("t/1", 2, 3)) == b"234"
    for missing in (lambda: spool.read("d/0"), lambda: spool.read("v/e/9"), lambda: spool.read("t/1", 2, 4)):
        with pytest.raises(TransientError):
            missing()
    with pytest.raises(ObjectExistsError):
        spool.create("v/e/8", [b"taken"])
    assert list(spool.list_names("v/")) == ["e"]
    spool.create("v/e/7", [b"next"])
    assert [found.key for found in spool.list("v/e/", limit=1)] == ["v/e/7"]


def test_what_is_remembered_has_a_limit_and_the_oldest_goes(remote, tmp_path):
    spool = spooling(remote, tmp_path / "spool", rules=Rules(remembered=("t/", "v/"), newest=("v/",)))
    spool.memory._limit = 10_000
    spool.create("v/e/1", [b"v"])
    for number in range(30):
        spool.create(f"t/{number:02}", [b"x" * 1000])
    kept = [found.key for found in spool.memory.listed("")]
    assert "v/e/1" in kept
    assert "t/29" in kept
    assert sum(found.size for found in spool.memory.listed("")) <= 10_000


@pytest.mark.parametrize("waits", [True, False])
def test_a_listing_that_decides_is_never_answered_from_here(remote, tmp_path, waits):
    spool = spooling(remote, tmp_path / "spool")
    remote.error = GONE
    if waits:
        spool.create("a", [b"1"])
    with pytest.raises(TransientError):
        list(spool.list("gc/", limit=1))


def test_a_budget_that_is_used_up_keeps_what_waits_and_takes_no_more(remote, tmp_path):
    spool = spooling(remote, tmp_path / "spool", budget=lambda _used: 10)
    remote.error = GONE
    spool.create("a", [b"123456"])
    with pytest.raises(NoSpaceError, match=r"6 bytes wait in .* at most 10 may"):
        spool.create("b", [b"12345"])
    assert "at most 10 may" in read_note(spool.disk, FULL).reason
    spool.create("c", [b"1234"])
    assert read_note(spool.disk, FULL) is None
    assert [item.key for item in spool.queue.items()] == ["a", "c"]


def test_a_folder_that_cannot_be_written_is_no_fault_of_the_store(remote, tmp_path):
    (tmp_path / "spool").write_bytes(b"a file")
    spool = spooling(remote, tmp_path / "spool", budget=lambda _used: 100)
    remote.error = GONE
    with pytest.raises(LocalIOError, match=r"the spool .* can not be used"):
        spool.create("a", [b"1"])


def test_another_process_finds_what_waits_and_does_not_ask_the_store_first(spool, remote, tmp_path, now):
    remote.error = GONE
    spool.create("a", [b"1"])
    asked = remote.calls
    other = spooling(remote, tmp_path / "spool", now)
    assert bytes(other.read("a")) == b"1"
    other.create("b", [b"2"])
    spool.create("c", [b"3"])
    with pytest.raises(ObjectExistsError):
        spool.create("b", [b"twice"])
    assert [(item.number, item.key) for item in spool.queue.items()] == [(1, "a"), (2, "b"), (3, "c")]
    assert remote.calls == asked
    assert other.breaker.pause() == 0


def test_queues_in_one_folder_number_their_objects_without_gap_or_double(tmp_path):
    folder = tmp_path / "spool"
    queues = [SpoolQueue(LocalBackend(folder), folder, lambda _used: 1 << 30) for _ in range(4)]

    def work(number):
        for step in range(25):
            queues[number].append(f"k{number}/{step:02}", [b"%d" % step])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    items = queues[0].items()
    assert [item.number for item in items] == list(range(1, 101))
    for number in range(4):
        assert [item.key for item in items if item.key.startswith(f"k{number}/")] == [
            f"k{number}/{step:02}" for step in range(25)
        ]


def test_an_object_that_goes_up_while_it_is_read_is_read_from_the_store(spool, remote):
    remote.error = GONE
    spool.create("a", [b"1"])
    (item,) = spool.queue.items()
    remote.error = None
    spool.came_back()
    remote.create("a", [b"1"])
    found = spool.queue.get
    spool.queue.get = lambda key: found(key) or item
    LocalBackend(spool.folder).delete(item.name)
    assert bytes(spool.read("a")) == b"1"
    assert spool.read_tail("a", 1) == (b"1", 1)
    with pytest.raises(NotFoundError):
        spool.read("b")


def test_probes_come_later_and_later_up_to_a_minute_and_never_in_a_spin(spool, remote, now):
    remote.error = GONE
    spool.create("a", [b"1"])
    pauses = []
    for _ in range(9):
        pauses.append(spool.breaker.pause())
        now[0] += spool.breaker.pause()
        assert spool.breaker.pause() == 0
        spool.breaker.probe_failed(GONE)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    spool.breaker.close()
    spool.went_away(GONE)
    assert spool.breaker.pause() == 60, "it answered, and took nothing"
    spool.came_back()
    spool.went_away(GONE)
    assert spool.breaker.pause() == 1


def test_one_lock_holder_at_a_time(tmp_path):
    with locked(tmp_path / "new", "drain"):
        with pytest.raises(BusyLockError), locked(tmp_path / "new", "drain", wait=False):
            pass
        with locked(tmp_path / "new", "append", wait=False):
            pass
    with locked(tmp_path / "new", "drain", wait=False):
        pass
