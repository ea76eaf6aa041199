"""The sparse dedup index: what one machine stored another one finds, and losing it costs nothing but that."""

import os

import pytest

from studio_cas.backends.memory import MemoryBackend
from studio_cas.errors import TransientError
from studio_cas.formats import hooks as runs
from studio_cas.formats import keys
from studio_cas.ids import PackId, digest
from studio_cas.store import hooks
from studio_cas.store.hooks import HookIndex
from studio_cas.store.store import open_store
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise

SIZE = 12_000_000
PACK = PackId(bytes(16))


@pytest.fixture
def backend():
    return MemoryBackend()


@pytest.fixture
def machine(backend, tmp_path):
    """Opens the store as another machine would: with nothing in its caches."""
    opened = []

    def another():
        opened.append(open_store(backend, home=tmp_path / f"home-{len(opened)}"))
        return opened[-1]

    yield another
    for store in opened:
        store.close()


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "large").write_bytes(os.urandom(SIZE))
    return folder


def published(backend):
    return [found.key for found in backend.list(keys.HOOKS)]


def test_a_machine_that_knows_nothing_finds_what_another_stored(backend, machine, work):
    capture(machine(), work, "theirs", "tag")
    assert len(published(backend)) == 1
    assert capture(machine(), work, "ours", "tag").bytes_stored < 100_000


@pytest.mark.parametrize("damage", ["gone", "noise", "cut short", "of packs that are gone"])
def test_a_run_that_is_lost_or_damaged_costs_only_dedup(backend, machine, work, tmp_path, damage):
    capture(machine(), work, "theirs", "tag")
    (key,) = published(backend)
    data = backend.read(key)
    backend.delete(key)
    if damage != "gone":
        other = runs.encode((chunk_id, os.urandom(16)) for chunk_id, _ in runs.decode(data))
        backend.create(key, [{"noise": os.urandom(300), "cut short": data[:-5]}.get(damage, other)])
    store = machine()
    result = capture(store, work, "ours", "tag")
    assert result.bytes_stored > SIZE * 0.9
    materialise(store, result.version, tmp_path / "here")
    assert (tmp_path / "here" / "large").read_bytes() == (work / "large").read_bytes()


def test_a_store_that_does_not_list_its_hooks_costs_only_dedup(backend, machine, work, monkeypatch):
    capture(machine(), work, "theirs", "tag")
    listed = backend.list

    def away(prefix, limit=None):
        if prefix == keys.HOOKS:
            raise TransientError("away")
        return listed(prefix, limit)

    monkeypatch.setattr(backend, "list", away)
    assert capture(machine(), work, "ours", "tag").bytes_stored > SIZE * 0.9


def test_little_is_not_worth_a_request(backend, machine, tmp_path):
    (tmp_path / "small").write_bytes(os.urandom(3_000_000))
    capture(machine(), tmp_path / "small", "exp", "tag")
    assert published(backend) == []


def test_hooks_are_the_first_of_a_file_the_first_of_a_pack_and_one_in_64(machine, backend):
    index = HookIndex(machine())
    sampled = (
        digest(b"")
        if runs.is_sampled(digest(b""))
        else next(digest(bytes([number])) for number in range(256) if runs.is_sampled(digest(bytes([number]))))
    )
    plain = [one for one in (digest(b"%d" % number) for number in range(400)) if not runs.is_sampled(one)]
    other = PackId(b"\1" * 16)
    index.add(plain[0], PACK, first=False)  # the first of its pack
    index.add(plain[1], PACK, first=False)
    index.add(plain[2], PACK, first=True)
    index.add(sampled, PACK, first=False)
    index.add(plain[3], other, first=False)  # the first of its pack
    index.publish(hooks.WORTH_BYTES)
    (key,) = published(backend)
    assert set(runs.decode(backend.read(key))) == {
        (plain[0], PACK), (plain[2], PACK), (sampled, PACK), (plain[3], other),
    }  # fmt: skip


def test_one_in_64_is_sampled():
    share = sum(runs.is_sampled(digest(b"%d" % number)) for number in range(20_000)) / 20_000
    assert 1 / 80 < share < 1 / 50


def test_a_run_is_read_once_by_each_machine(backend, machine, work, monkeypatch):
    capture(machine(), work, "theirs", "tag")
    asked = []
    read = backend.read
    monkeypatch.setattr(backend, "read", lambda key, *rest: asked.append(key) or read(key, *rest))
    store = machine()
    for _ in range(2):
        HookIndex(store).neighbours([digest(b"x")])
    assert [key for key in asked if key.startswith(keys.HOOKS)] == published(backend)


def test_the_one_who_published_does_not_read_its_own(backend, machine, work, monkeypatch):
    store = machine()
    capture(store, work, "theirs", "tag")
    monkeypatch.setattr(backend, "read", lambda key, *rest: pytest.fail(key))
    assert HookIndex(store).neighbours([digest(b"x")]) == {}


def test_the_newest_run_sorts_first(backend, machine, monkeypatch):
    index = HookIndex(machine())
    for moment, name in ((1000.0, b"old"), (2000.0, b"new")):
        monkeypatch.setattr(hooks.time, "time", lambda moment=moment: moment)
        index.add(digest(name), PackId(name.ljust(16)), first=True)
        index.publish(hooks.WORTH_BYTES)
    newest = runs.decode(backend.read(published(backend)[0]))
    assert (digest(b"new"), PackId(b"new".ljust(16))) in newest
