"""Retrying asks again within a budget, waits with full jitter, and never takes a foreign object for its own."""

import pytest

from studio_cas.backends.base import Backend
from studio_cas.backends.memory import MemoryBackend
from studio_cas.backends.retrying import Budget, Retrying
from studio_cas.errors import NotFoundError, ObjectExistsError, TransientError
from studio_cas.testing.backend_contract import BackendContract, fill


class Failing(MemoryBackend):
    """A memory store whose next requests fail: before they are done ("before"), after ("after"), or not ("")."""

    def __init__(self):
        super().__init__()
        self.plan = []
        self.asked = 0

    def _step(self, request):
        self.asked += 1
        fault = self.plan.pop(0) if self.plan else ""
        if fault == "before":
            raise TransientError(fault)
        answer = request()
        if fault == "after":
            raise TransientError(fault)
        return answer

    def prepare(self):
        self._step(super().prepare)

    def create(self, key, parts):
        self._step(lambda: super(Failing, self).create(key, parts))

    def read(self, key, offset=0, length=None):
        return self._step(lambda: super(Failing, self).read(key, offset, length))

    def stat(self, key):
        return self._step(lambda: super(Failing, self).stat(key))

    def delete(self, key):
        self._step(lambda: super(Failing, self).delete(key))

    def list(self, prefix, limit=None):
        for found in super().list(prefix, limit):
            if self.plan and self.plan.pop(0) == "before":
                raise TransientError("in the middle")
            yield found


class Clock:
    def __init__(self):
        self.now = 0.0
        self.pauses = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def inner():
    return Failing()


@pytest.fixture
def store(inner, clock):
    budget = Budget(attempts=5, seconds=30.0, first=1.0, longest=4.0)
    return Retrying(inner, budget, unmet=budget, clock=clock, sleep=clock.sleep, jitter=lambda: 0.5)


class TestRetryingMemory(BackendContract):
    rounds = 10

    @pytest.fixture
    def backend(self):
        return Retrying(MemoryBackend())


def test_pauses_double_up_to_the_longest_and_are_scaled_by_the_jitter(store, inner, clock):
    fill(inner, "a")
    inner.plan = ["before"] * 4
    assert store.read("a") == b"a"
    assert clock.pauses == [0.5, 1.0, 2.0, 2.0]


def test_the_attempts_are_counted(store, inner, clock):
    inner.plan = ["before"] * 100
    with pytest.raises(TransientError):
        store.read("a")
    assert inner.asked == 5
    assert len(clock.pauses) == 4


def test_no_attempt_begins_after_the_time_is_up(inner, clock):
    budget = Budget(attempts=99, seconds=10.0)
    store = Retrying(inner, budget, unmet=budget, clock=clock, sleep=clock.sleep, jitter=lambda: 1.0)
    inner.plan = ["before"] * 100
    with pytest.raises(TransientError):
        store.read("a")
    assert clock.pauses == [0.5, 1.0, 2.0, 4.0]


def test_a_longer_wait_that_is_asked_for_is_kept_and_one_beyond_the_budget_gives_up(store, inner, clock, monkeypatch):
    fill(inner, "a")
    waits = iter([12.0, 0.01, 100.0])

    def busy(*_args):
        error = TransientError("busy")
        error.retry_after = next(waits)
        raise error

    monkeypatch.setattr(inner, "read", busy)
    with pytest.raises(TransientError):
        store.read("a")
    assert clock.pauses == [12.0, 1.0]


def test_a_store_that_never_answered_is_given_up_soon_and_one_that_did_is_not(inner, clock):
    fill(inner, "a")
    store = Retrying(inner, clock=clock, sleep=clock.sleep, jitter=lambda: 1.0)
    inner.plan = ["before"] * 4
    with pytest.raises(TransientError):
        store.read("a")
    assert clock.pauses == [0.5, 1.0, 2.0]
    assert store.read("a") == b"a"
    inner.plan = ["before"] * 7
    assert store.read("a") == b"a"
    assert clock.pauses[3:] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0]


def test_errors_that_do_not_pass_are_not_retried(store, inner):
    with pytest.raises(NotFoundError):
        store.read("a")
    assert inner.asked == 1


@pytest.mark.parametrize("plan", [["before"], ["after"], ["before", "after", "before"], ["after", "", "before"]])
def test_a_create_happens_once_whatever_is_lost(store, inner, plan):
    inner.plan = plan
    store.create("a", [b"con", b"tent"])
    inner.plan = []
    assert inner.read("a") == b"content"
    with pytest.raises(ObjectExistsError):
        store.create("a", [b"content"])


@pytest.mark.parametrize("foreign", [b"contenT", b"longer content", b""])
def test_a_foreign_object_is_a_conflict_even_after_a_lost_answer(store, inner, foreign):
    inner.create("a", [foreign])
    inner.plan = ["before"]
    with pytest.raises(ObjectExistsError):
        store.create("a", [b"content"])


def test_an_object_that_vanishes_while_it_is_compared_is_a_conflict(store, inner, monkeypatch):
    fill(inner, "a")
    inner.plan = ["before"]

    def gone(key):
        raise NotFoundError(key)

    monkeypatch.setattr(inner, "stat", gone)
    with pytest.raises(ObjectExistsError):
        store.create("a", [b"a"])


def test_a_delete_that_happened_without_an_answer_is_done(store, inner):
    fill(inner, "a")
    inner.plan = ["after"]
    store.delete("a")
    with pytest.raises(NotFoundError):
        store.delete("a")


@pytest.mark.parametrize("limit", [None, 3])
def test_a_listing_that_breaks_off_goes_on_where_it_was(store, inner, limit):
    fill(inner, *"abcdef")
    inner.plan = ["", "before", "", "", "before"]
    assert [found.key for found in store.list("", limit)] == list("abcdef"[:limit])


def test_a_listing_that_never_gets_further_is_given_up(store, inner):
    fill(inner, *"abc")
    inner.plan = [""] + ["before"] * 100
    with pytest.raises(TransientError):
        list(store.list(""))


def test_preparing_is_retried(store, inner):
    inner.plan = ["before", "after"]
    store.prepare()
    assert inner.asked == 3


def test_it_looks_like_what_is_inside(store, inner):
    assert isinstance(store, Backend)
    assert (store.url, store.local) == (inner.url, inner.local)
    store.close()
