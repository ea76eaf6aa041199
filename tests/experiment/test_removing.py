"""Removing versions and artifacts: what goes, what is refused, and that no number is used twice."""

from __future__ import annotations

import pytest

from studio_cas.errors import ConflictError, NotFoundError, PermissionDeniedError
from studio_cas.experiment import removing
from studio_cas.experiment.removing import plan_removal, remove
from studio_cas.formats import keys
from studio_cas.formats.experiment import Owner, Reuse, RunArtifact
from studio_cas.formats.spec import parse_spec
from studio_cas.moving.mirroring import Scope, copy_scope
from studio_cas.store import versions
from studio_cas.store.collecting import collect
from studio_cas.store.store import open_store
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise

pytestmark = pytest.mark.own_store


@pytest.fixture
def take(store):
    def take(name, user="anna", *, force=False):
        removal = plan_removal(store, parse_spec(name), user, force=force)
        remove(store, removal, user, 1.8e9)
        return removal

    return take


@pytest.fixture
def make(store, tmp_path):
    """Make the next version of an artifact, with that content."""
    folder = tmp_path / "folder"
    folder.mkdir()

    def make(content, name="exp/w"):
        (folder / "file").write_text(content)
        return capture(store, folder, *name.split("/")).version.number

    return make


def numbers(store, tag="w", **options):
    return [found.number for found in versions.list_versions(store, "exp", tag, **options)]


def objects(store, prefix):
    return [found.key for found in store.backend.list(prefix)]


def test_one_version_goes_and_the_others_stay(store, make, take, tmp_path):
    for content in ("one", "two", "three"):
        make(content)
    removal = take("exp/w@2")
    assert (removal.name, removal.numbers) == ("exp/w@2", (2,))
    assert numbers(store) == [3, 1]
    with pytest.raises(NotFoundError, match="has no version 2: the latest is 3"):
        versions.resolve(store, "exp/w@2")
    assert make("four") == 4
    materialise(store, versions.resolve(store, "exp/w@1"), tmp_path / "out")
    assert (tmp_path / "out" / "file").read_text() == "one"


def test_where_the_newest_goes_the_one_before_is_the_latest_and_its_number_is_used_up(store, make, take):
    for content in ("one", "two", "three"):
        make(content)
    take("exp/w")  # all of another artifact are not touched
    for content in ("one", "two", "three"):
        make(content)
    make("other", "exp/other")
    take("exp/w@-1")
    take("exp/w@3")
    assert numbers(store) == [1]
    assert versions.latest(store, "exp", "w").number == 1
    assert versions.resolve(store, "exp/w").number == 1
    for gone in ("exp/w@3", "exp/w@2"):
        with pytest.raises(NotFoundError):
            versions.resolve(store, gone)
    assert make("four") == 4
    assert numbers(store) == [4, 1]
    assert numbers(store, limit=1) == [4]
    assert numbers(store, limit=2) == [4, 1]
    assert [keys.version_number(key) for key, _ in versions.list_records(store, "exp", "w")] == [4, 1]


def test_a_capture_that_is_equal_to_what_is_the_latest_now_makes_no_version(store, make, take):
    make("one")
    make("two")
    take("exp/w@2")
    assert make("one") == 1
    assert make("two") == 3


def test_an_artifact_that_goes_as_a_whole_leaves_nothing(store, make, take):
    for content in ("one", "two"):
        make(content)
    assert take("exp/w").numbers == (2, 1)
    assert objects(store, keys.VERSIONS) == []
    with pytest.raises(NotFoundError, match="no experiment"):
        take("exp/w")
    assert make("three") == 1


def test_an_artifact_whose_last_version_goes_leaves_nothing_either(store, make, take):
    make("one")
    make("two")
    take("exp/w@2")
    take("exp/w@1")
    assert objects(store, keys.VERSIONS) == []
    assert versions.list_tags(store, "exp") == []


def test_a_version_that_is_made_while_the_marks_of_a_bare_artifact_go_stays(store, make, take, monkeypatch):
    make("one")
    make("two")
    take("exp/w@2")
    is_bare = removing._is_bare

    def then_one_is_made(*arguments):
        bare = is_bare(*arguments)
        assert make("three") == 3
        return bare

    monkeypatch.setattr(removing, "_is_bare", then_one_is_made)
    take("exp/w@1")
    assert numbers(store) == [3]


def test_a_damaged_version_can_be_removed_and_a_collection_goes_on(store, make, take):
    make("one")
    make("two")
    key = keys.version("exp", "w", 2)
    store.backend.delete(key)
    store.backend.create(key, [b"{"])
    take("exp/w@2")
    assert numbers(store) == [1]
    collect(store, grace=0)
    assert make("three") == 3


def test_a_number_that_was_used_up_is_no_version(store, make, take):
    make("one")
    make("two")
    take("exp/w@2")
    with pytest.raises(NotFoundError, match="has no version 2"):
        take("exp/w@2")


def test_what_a_run_reuses_is_kept_unless_it_is_forced(store, record, make, take):
    make("one")
    make("two")
    reuse = RunArtifact("w", "w", mutable=False, reuse=Reuse("exp", "w", 1, "0" * 64))
    record("reader", artifacts=(reuse,), ended="finished")
    with pytest.raises(ConflictError, match=r"exp/w@1 is reused by reader@1, .*--force"):
        take("exp/w@1")
    with pytest.raises(ConflictError, match="exp/w is reused by reader@1"):
        take("exp/w")
    take("exp/w@2")
    assert numbers(store) == [1]
    assert take("exp/w@1", force=True).reused_by == ("reader@1",)


def test_what_belongs_to_another_user_is_kept_unless_it_is_forced(store, make, take):
    from studio_cas.experiment import records

    make("one")
    records.claim(store.backend, Owner("exp", "anna", "host", 1.0), join=False)
    with pytest.raises(ConflictError, match="belongs to anna, and you are bert"):
        take("exp/w", "bert")
    take("exp/w", "bert", force=True)


def test_a_credential_that_may_not_delete_is_told_so(store, make, take, monkeypatch):
    make("one")

    def refuse(_self, key):
        raise PermissionDeniedError(f"{key}: no")

    monkeypatch.setattr(type(store.backend), "delete", refuse)
    with pytest.raises(PermissionDeniedError, match=r"exp/w could not be removed, and nothing was: .*may delete"):
        take("exp/w")


def test_a_copy_of_all_versions_passes_over_what_was_removed(store, make, take, tmp_path):
    for content in ("one", "two", "three"):
        make(content)
    take("exp/w@3")
    with open_store(tmp_path / "other", home=tmp_path / "home") as other:
        for every in (True, False):
            report = copy_scope(store, other, Scope("exp", None, every))
            assert [one.number for one in report.versions] == ([1, 2] if every else [2])


def test_a_capture_whose_parent_is_removed_while_it_runs_gets_the_number_after_it(store, make, take, monkeypatch):
    """A mark lies where it looks for a free number."""
    make("one")
    make("two")
    create = versions.create

    def meanwhile(*arguments):
        monkeypatch.setattr(versions, "create", create)
        take("exp/w@2")
        return create(*arguments)

    monkeypatch.setattr(versions, "create", meanwhile)
    assert make("three") == 3
    assert numbers(store) == [3, 1]
