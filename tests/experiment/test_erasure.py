"""Removing experiments and attempts."""

from __future__ import annotations

import pytest

from studio_cas.errors import ConflictError, NotFoundError, PermissionDeniedError
from studio_cas.experiment.erasure import erase, plan_erasure
from studio_cas.experiment.records import write_heartbeat
from studio_cas.experiment.runs import parse_run
from studio_cas.formats.experiment import Ended
from studio_cas.store.versions import list_versions
from studio_cas.worktree.capture import capture

pytestmark = pytest.mark.own_store


@pytest.fixture
def remove(store):
    def remove(name, user="anna", *, force=False):
        erasure = plan_erasure(store, parse_run(name), user, 1e9, force=force)
        erase(store.backend, erasure)
        return erasure

    return remove


@pytest.fixture
def version(store, tmp_path):
    """Make the next version of an artifact, with that content."""
    folder = tmp_path / "folder"
    folder.mkdir()

    def version(tag, content, experiment="exp"):
        (folder / "file").write_text(content)
        return capture(store, folder, experiment, tag).version.number

    return version


def left(store, prefix=""):
    return [found.key for found in store.backend.list(prefix)]


def numbers(store, tag):
    return [found.number for found in list_versions(store, "exp", tag)]


def test_an_experiment_goes_with_its_records_and_versions(store, record, remove, version):
    write_heartbeat(store.backend, record(ended="finished"), 1, 5.0)
    record(ended="failed")
    version("w", "one")
    record("other", ended="finished")
    version("w", "one", "other")
    packs = left(store, "packs/") + left(store, "trees/")
    erasure = remove("exp")
    assert len(erasure.versions) == 1
    assert sum(map(len, erasure.records)) == 6
    assert left(store, "versions/exp/") == left(store, "experiments/exp/") == []
    assert len(left(store, "versions/other/")) == 1
    assert len(left(store, "experiments/other/")) == 3
    assert left(store, "packs/") + left(store, "trees/") == packs  # the collector's work


def test_an_experiment_that_was_only_pushed_goes_too(store, remove, version):
    version("w", "one")
    remove("exp")
    assert left(store, "versions/") == []


def test_an_attempt_goes_with_the_versions_that_are_its_own(store, record, remove, version):
    for content in ("a", "b", "c", "d"):
        version("w", content)
    record(ended=Ended(1010.0, "finished", 0, versions={"w": (1, 2)}))
    record(ended=Ended(1020.0, "finished", 0, versions={"w": (2, 4)}))
    erasure = remove("exp@1")
    assert (len(erasure.versions), erasure.kept) == (1, 1)
    assert numbers(store, "w") == [4, 3, 2]
    assert left(store, "experiments/exp/attempts/0001/") == []
    assert len(left(store, "experiments/exp/attempts/0002/")) == 2
    assert left(store, "experiments/exp/owner")
    assert remove("exp@2").kept == 0
    assert numbers(store, "w") == []


def test_what_goes_on_is_not_removed_unless_forced(store, record, remove):
    record(started=True, time=1e9 - 10)
    with pytest.raises(ConflictError, match="exp@1 is running: studio runs stop exp@1 first"):
        remove("exp")
    record("idle")
    with pytest.raises(ConflictError, match="idle@1 is waiting"):
        remove("idle@1")
    remove("exp", force=True)
    assert left(store, "experiments/exp/") == []


def test_what_is_lost_can_be_removed(store, record, remove):
    record(started=True)
    remove("exp@1")
    assert left(store, "experiments/exp/attempts/") == []


def test_what_belongs_to_another_is_not_removed_unless_forced(store, record, remove):
    record(ended="finished")
    with pytest.raises(ConflictError, match="belongs to anna, and you are ben"):
        remove("exp", user="ben")
    remove("exp", user="ben", force=True)
    assert left(store, "experiments/") == []


def test_what_is_not_there_cannot_be_removed(record, remove):
    with pytest.raises(NotFoundError, match="there is no experiment 'exp'"):
        remove("exp")
    record()
    with pytest.raises(NotFoundError, match="no attempt 2"):
        remove("exp@2")


def refusing(backend, monkeypatch, after):
    """Let `backend` refuse to delete, after so many deletions."""
    allowed = [after]
    delete = backend.delete

    def refuse(key):
        if not allowed[0]:
            raise PermissionDeniedError(f"{key} can not be deleted: no storage.objects.delete access (403)")
        allowed[0] -= 1
        delete(key)

    monkeypatch.setattr(backend, "delete", refuse)


def test_a_credential_that_may_not_delete_is_told_before_anything_is_gone(store, record, remove, version, monkeypatch):
    record(ended="finished")
    version("w", "one")
    before = left(store)
    refusing(store.backend, monkeypatch, 0)
    with pytest.raises(PermissionDeniedError) as caught:
        remove("exp")
    assert str(caught.value).startswith("exp could not be removed, and nothing was: versions/exp/w/")
    assert str(caught.value).endswith("it takes a credential that may delete")
    assert left(store) == before


@pytest.mark.parametrize("name", ["exp", "exp@1"])
def test_a_removal_that_was_interrupted_continues(store, record, remove, version, monkeypatch, name):
    for attempt in range(2):
        version("w", f"{attempt}")
        record(started=True, ended=Ended(1010.0, "finished", 0, versions={"w": (attempt + 1, attempt + 1)}))
    whole = len(left(store, "experiments/"))
    for after in range(1, 20):
        with monkeypatch.context() as patch:
            refusing(store.backend, patch, after)
            try:
                remove(name)
            except PermissionDeniedError as error:
                assert "but for a part of it" in str(error)
            except NotFoundError:
                break
    assert left(store, "experiments/exp/attempts/0001/") == []
    assert len(left(store, "experiments/")) == (0 if name == "exp" else whole - 3)
    assert numbers(store, "w") == ([] if name == "exp" else [2])
