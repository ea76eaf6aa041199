"""How much space artifacts take: what they hold, what is stored for them, and what of it others use as well."""

import os

import pytest

from studio_cas.backends.memory import MemoryBackend
from studio_cas.errors import CorruptError
from studio_cas.formats import keys
from studio_cas.ids import PackId
from studio_cas.store.store import open_store
from studio_cas.store.usage import du
from studio_cas.worktree.capture import capture

SIZE = 2_000_000


@pytest.fixture
def store(tmp_path):
    with open_store(MemoryBackend(), home=tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "data").write_bytes(os.urandom(SIZE))
    return folder


def packs_size(store):
    return sum(found.size for prefix in (keys.PACKS, keys.TREES) for found in store.backend.list(prefix))


def test_an_empty_store_takes_nothing(store):
    assert du(store).stored == 0
    assert du(store).experiments == ()


def test_versions_add_up_and_the_latest_stands_apart(store, work):
    capture(store, work, "exp", "tag")
    (work / "more").write_bytes(os.urandom(SIZE // 2))
    capture(store, work, "exp", "tag")
    (usage,) = du(store).artifacts
    assert (usage.experiment, usage.tag, usage.versions) == ("exp", "tag", 2)
    assert (usage.logical, usage.latest) == (SIZE + SIZE * 3 // 2, SIZE * 3 // 2)
    assert (usage.stored, usage.shared) == (packs_size(store), 0)
    assert du(store).unused == 0


def test_what_two_artifacts_of_one_experiment_share_the_experiment_does_not(store, work):
    for tag in ("one", "two"):
        capture(store, work, "exp", tag)
    found = du(store)
    assert [(usage.tag, usage.shared == usage.stored > SIZE) for usage in found.artifacts] == [
        ("one", True), ("two", True),
    ]  # fmt: skip
    (experiment,) = found.experiments
    assert (experiment.shared, experiment.stored, experiment.logical) == (0, found.stored, 2 * SIZE)


def test_what_two_experiments_share_both_do(store, work):
    for name in ("a", "b"):
        capture(store, work, name, "tag")
    found = du(store)
    assert [usage.shared for usage in found.experiments] == [found.stored] * 2


def test_packs_that_no_version_uses_are_unused(store, work):
    capture(store, work, "exp", "tag")
    store.backend.create(keys.pack(PackId.random()), [bytes(1000)])
    found = du(store)
    assert (found.unused, found.stored) == (1000, packs_size(store))


def test_one_experiment_is_shown_and_what_it_shares_with_others_is_told(store, work):
    for name in ("a", "b"):
        capture(store, work, name, "tag")
    found = du(store, "b")
    assert [usage.experiment for usage in found.experiments] == ["b"]
    assert [usage.shared for usage in found.artifacts] == [found.stored]
    assert du(store, "c").experiments == ()


def test_an_object_that_is_no_pack_is_named(store, work):
    store.backend.create("packs/ab/readme", [b"?"])
    with pytest.raises(CorruptError, match="packs/ab/readme"):
        du(store)
