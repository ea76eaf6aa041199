"""A store that overwrites is found before anything is written to it, once a machine."""

from contextlib import suppress

import pytest

from studio_cas.backends.memory import MemoryBackend
from studio_cas.backends.metered import Counts, Metered
from studio_cas.backends.probe import Probed
from studio_cas.backends.retrying import Retrying
from studio_cas.errors import NotFoundError, OverwritesError, PermissionDeniedError, TransientError
from studio_cas.testing.backend_contract import BackendContract, race


class Careless(MemoryBackend):
    """Overwrites."""

    def create(self, key, parts):
        with suppress(NotFoundError):
            self.delete(key)
        super().create(key, parts)


class Undeletable(MemoryBackend):
    """Its credential may not delete."""

    def delete(self, key):
        raise PermissionDeniedError(f"{key} can not be deleted")


class Forgetful(MemoryBackend):
    """Loses the answers to its first creates."""

    lost = 3

    def create(self, key, parts):
        super().create(key, parts)
        if self.lost:
            self.lost -= 1
            raise TransientError("no answer")


class TestProbed(BackendContract):
    @pytest.fixture
    def backend(self, tmp_path):
        return Probed(MemoryBackend(), tmp_path)


def test_a_store_that_overwrites_is_never_written_to(tmp_path):
    inner = Careless("careless")
    store = Probed(inner, tmp_path / "memory")
    for _ in range(2):
        with pytest.raises(OverwritesError, match="memory://careless overwrites what exists"):
            store.create("a", [b"1"])
    assert list(inner.list("")) == []
    assert not (tmp_path / "memory").exists()


def test_it_may_be_read(tmp_path):
    inner = Careless()
    inner.create("a", [b"1"])
    store = Probed(inner, tmp_path)
    assert store.read("a") == b"1"
    assert [found.key for found in store.list("")] == ["a"]


def test_a_machine_probes_a_store_once(tmp_path):
    for _ in range(2):
        inner = Metered(MemoryBackend("x"))
        store = Probed(inner, tmp_path / "memory")
        store.create("a", [b"1"])
        store.create("b", [b"1"])
    assert inner.counts == Counts(create=2, bytes_out=2)


def test_equal_urls_of_two_services_are_probed_both(tmp_path):
    Probed(MemoryBackend("x"), tmp_path, "https://one").create("a", [b"1"])
    with pytest.raises(OverwritesError):
        Probed(Careless("x"), tmp_path, "https://other").create("a", [b"1"])


def test_many_threads_probe_once():
    inner = Metered(MemoryBackend())
    store = Probed(inner)
    assert race(lambda number: store.create(str(number), [b"1"]) is None, 8) == 8
    assert inner.counts.create == 2 + 8


def test_a_home_that_can_not_be_written_is_no_hindrance(tmp_path):
    (tmp_path / "file").write_text("")
    store = Probed(MemoryBackend(), tmp_path / "file" / "memory")
    store.create("a", [b"1"])
    assert store.read("a") == b"1"


def test_what_may_not_be_deleted_stays_and_is_no_hindrance():
    inner = Undeletable()
    store = Probed(inner)
    store.create("a", [b"1"])
    assert list(inner.list_names("")) == ["a", "doctor"]


def test_a_lost_answer_is_no_accusation():
    inner = Forgetful()
    store = Retrying(Probed(inner), sleep=lambda _: None)
    store.create("a", [b"1"])
    assert store.read("a") == b"1"
    with pytest.raises(NotFoundError):
        store.read("doctor/none")
