"""Versions and experiments in another store: the same content, only what was missing, and nothing replaced."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from tests.reliability.folders import snapshot

from studio_cas.backends.memory import MemoryBackend
from studio_cas.errors import ConflictError, CorruptError, TransientError, UsageError
from studio_cas.experiment import records
from studio_cas.formats import collection, keys
from studio_cas.formats import experiment as formats
from studio_cas.formats.experiment import Created, Ended, Owner
from studio_cas.formats.spec import parse_spec
from studio_cas.moving.copying import copy_version
from studio_cas.moving.foreseeing import Forecast, foresee_scope
from studio_cas.moving.mirroring import Scope, copy_scope
from studio_cas.moving.wanted import WHOLE_FROM
from studio_cas.store import versions
from studio_cas.store.store import open_store
from studio_cas.testing.moody_backend import Deaths, KilledError, Moody
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise


@pytest.fixture
def other(tmp_path):
    """The store to copy to."""
    with open_store(MemoryBackend("other"), home=tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    (folder / "sub").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "large.bin").write_bytes(os.urandom(9_000_000))
    (folder / "zeros").write_bytes(bytes(3_000_000))
    (folder / "sub" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "sub" / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("large.bin")
    for number in range(500):
        (folder / "sub" / f"{number:03}.txt").write_text(f"line {number}\n" * 400)
    return folder


def packs_of(store) -> set[str]:
    return {found.key for found in store.backend.list(keys.PACKS)}


def pulled(store, name, tmp_path, where="back"):
    with open_store(store.backend, home=tmp_path / f"{where}-home") as fresh:
        materialise(fresh, versions.resolve(fresh, name), tmp_path / where)
    return snapshot(tmp_path / where)


def test_a_copy_is_the_same_version(store, other, work, tmp_path):
    capture(store, work, "exp", "tag")
    version = versions.resolve(store, "exp/tag")
    copied = copy_version(store, other, version)
    assert (copied.state, copied.number, copied.size) == ("copied", 1, version.size)
    found = versions.resolve(other, "exp/tag")
    changed = ("tree", "tree_packs", "stored")
    assert replace(found, **{name: getattr(version, name) for name in changed}) == version
    assert pulled(other, "exp/tag", tmp_path) == snapshot(work)
    assert packs_of(store).isdisjoint(packs_of(other))


def test_what_would_be_copied_is_what_is(store, other, work):
    """Of two versions each piece is counted once; nothing is written by looking."""
    capture(store, work, "exp", "tag")
    (work / "large.bin").write_bytes((work / "large.bin").read_bytes() + os.urandom(1_000_000))
    capture(store, work, "exp", "tag")

    def foresee(target):
        told, forecast = [], Forecast()
        foresee_scope(store, target, Scope("exp", every=True), forecast, tell=told.append)
        return [(one.source_number, one.state) for one in told], forecast.data

    states, nowhere = foresee(None)
    assert states == [(1, "missing"), (2, "missing")]
    before = [found.key for found in other.backend.list("")]
    states, data = foresee(other)
    assert [found.key for found in other.backend.list("")] == before
    assert (data.stored, data.packs) == (nowhere.stored, nowhere.packs)
    added = copy_scope(store, other, Scope("exp", parse_spec("exp/tag@1"))).versions[0].stored
    states, rest = foresee(other)
    assert states == [(1, "there"), (2, "missing")]
    assert 1_000_000 <= rest.stored < 2_000_000
    assert added == pytest.approx(data.stored - rest.stored, rel=0.02)


def test_what_is_there_is_not_copied_again(store, other, work):
    version = capture(store, work, "exp", "tag").version
    copy_version(store, other, version)
    before = [found.key for found in other.backend.list("")]
    again = copy_version(store, other, version)
    assert (again.state, again.number, again.stored) == ("there", 1, 0)
    assert [found.key for found in other.backend.list("")] == before


@pytest.mark.parametrize("home", ["home", "elsewhere"])
def test_of_a_later_version_only_the_difference_is_stored(store, other, work, tmp_path, home):
    copy_version(store, other, capture(store, work, "exp", "tag").version)
    (work / "more.bin").write_bytes(os.urandom(100_000))
    second = capture(store, work, "exp", "tag").version
    with open_store(other.backend, home=tmp_path / home) as there:  # also a machine that knows nothing of that store
        copied = copy_version(store, there, second)
    assert copied.state == "copied"
    assert 100_000 < copied.stored < 200_000
    assert pulled(other, "exp/tag@2", tmp_path) == snapshot(work)


def test_a_pack_goes_whole_where_all_of_it_is_missing_and_else_in_parts(store, other, work, tmp_path):
    version = capture(store, work, "exp", "tag").version
    assert copy_version(store, other, version).packs == 1
    (work / "large.bin").unlink()
    capture(store, work, "exp", "tag")
    with open_store(MemoryBackend("third"), home=tmp_path / "home") as third:
        part = copy_version(store, third, versions.resolve(store, "exp/tag@2"))
        assert part.packs == 0
        assert part.stored < WHOLE_FROM
        assert pulled(third, "exp/tag@2", tmp_path, "part") == snapshot(work)


def test_no_chunk_goes_along_that_the_version_does_not_have(store, other, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "open.txt").write_text("for everybody\n" * 400)
    (folder / "secret.txt").write_text("canary, which was deleted\n" * 400)
    capture(store, folder, "exp", "tag", compression=False)
    (folder / "secret.txt").unlink()
    version = capture(store, folder, "exp", "tag", compression=False).version
    assert any(b"canary" in bytes(store.backend.read(key)) for key in packs_of(store))
    copy_version(store, other, version)
    assert pulled(other, "exp/tag", tmp_path) == snapshot(folder)
    from studio_cas.store.footers import read_footer
    from studio_cas.store.trees import TreeReader

    wanted = {chunk_id for _, leaf in TreeReader(store, version).leaves() for chunk_id in leaf.ids}
    stored = {row[0] for key in packs_of(other) for row in read_footer(other, keys.pack_id_of(key))}
    assert stored == wanted


def test_a_taken_number_gives_the_next_one_and_only_once(store, other, work, tmp_path):
    (tmp_path / "mine").mkdir()
    capture(other, tmp_path / "mine", "exp", "tag")
    version = capture(store, work, "exp", "tag").version
    assert copy_version(store, other, version).number == 2
    assert copy_version(store, other, version).state == "there"
    found = versions.resolve(other, "exp/tag@2")
    assert (found.manifest_id, found.writer, found.parent) == (version.manifest_id, version.writer, 1)
    assert versions.resolve(other, "exp/tag@1").files == 0


def test_all_versions_come_oldest_first_with_their_numbers(store, other, work, tmp_path):
    for number in range(4):
        (work / "count").write_text(str(number))
        capture(store, work, "exp", "tag")
    copy_scope(store, other, Scope("exp", parse_spec("exp/tag@3")))
    report = copy_scope(store, other, Scope("exp", parse_spec("exp/tag"), every=True))
    assert [(one.number, one.state) for one in report.versions] == [
        (1, "copied"),
        (2, "copied"),
        (3, "there"),
        (4, "copied"),
    ]
    assert [found.number for found in versions.list_versions(other, "exp", "tag")] == [4, 3, 2, 1]
    assert pulled(other, "exp/tag@-1", tmp_path) == {**snapshot(work), **snapshot_of("count", "2", work)}


def snapshot_of(name, text, work):
    """The row of one file in a snapshot, with other content."""
    kept = (work / name).read_text()
    (work / name).write_text(text)
    row = {path: found for path, found in snapshot(work).items() if os.fsdecode(path) == name}
    (work / name).write_text(kept)
    return row


def test_damage_in_the_source_makes_no_version(other, work, tmp_path):
    backend = MemoryBackend()
    with open_store(backend, home=tmp_path / "home") as store:
        version = capture(store, work, "exp", "tag", compression=False).version
        for key in packs_of(store):
            data = bytearray(backend.read(key))
            data[len(data) // 2] ^= 1
            backend.delete(key)
            backend.create(key, [bytes(data)])
        with pytest.raises(CorruptError, match=r"exp/tag@1: .*damaged"):
            copy_version(store, other, version)
        assert versions.latest(other, "exp", "tag") is None
        report = copy_scope(store, other, Scope("exp"))
        assert [one.state for one in report.versions] == ["failed"]
        assert "damaged" in report.versions[0].reason


def test_what_was_collected_there_is_copied_again(store, other, work, tmp_path):
    version = capture(store, work, "exp", "tag").version
    copy_version(store, other, version)
    for found in list(other.backend.list("")):  # but for the catalog of this machine nothing is left of it
        if found.key != keys.FORMAT:
            other.backend.delete(found.key)
    assert copy_version(store, other, version).state == "copied"
    assert pulled(other, "exp/tag", tmp_path) == snapshot(work)


def test_condemned_packs_are_not_used(store, other, work, tmp_path):
    version = capture(store, work, "exp", "tag").version
    copy_version(store, other, version)
    condemned = {keys.pack_id_of(key) for key in packs_of(other)}
    other.backend.create(keys.condemned_list(1), [collection.encode(condemned)])
    other.backend.delete(keys.version("exp", "tag", 1))
    copied = copy_version(store, other, version)
    assert copied.stored > 9_000_000
    from studio_cas.store.trees import TreeReader

    made = versions.read(other, "exp", "tag", copied.number)
    assert condemned.isdisjoint(TreeReader(other, made).root.packs)
    assert pulled(other, f"exp/tag@{copied.number}", tmp_path) == snapshot(work)


def test_a_copy_that_was_never_acknowledged_is_made_again(store, other, work, tmp_path):
    """Whoever made it died before he looked, and its packs were condemned by then."""
    version = capture(store, work, "exp", "tag").version
    copy_version(store, other, version)
    condemned = packs_of(other)
    other.backend.create(keys.condemned_list(1), [collection.encode(map(keys.pack_id_of, condemned))])
    for key in condemned:
        other.backend.delete(key)
    with open_store(other.backend, home=tmp_path / "elsewhere") as elsewhere:
        copied = copy_version(store, elsewhere, version)
        assert copied.state == "copied"
        assert pulled(elsewhere, "exp/tag", tmp_path) == snapshot(work)
        assert copy_version(store, elsewhere, version).state == "there"


@pytest.mark.parametrize("after", [False, True])
def test_a_copy_that_dies_at_any_step_goes_on_from_there(store, work, tmp_path, after):
    """Small packs, so that there are many steps; each time it begins anew it dies one step later."""
    version = capture(store, work, "exp", "tag").version
    deaths = Deaths()
    inner = MemoryBackend("dying")
    open_store(inner, home=tmp_path / "home").close()
    steps = 0
    while True:
        deaths.arm(steps, after=after)
        try:
            with open_store(Moody(inner, deaths), home=tmp_path / "home") as target:
                copy_version(store, target, version)
            break
        except KilledError:
            with open_store(inner, home=tmp_path / "check") as check:
                if versions.latest(check, "exp", "tag"):
                    assert pulled(check, "exp/tag", tmp_path, f"at-{steps}") == snapshot(work)
        steps += 1
    deaths.disarm()
    assert steps > 3
    with open_store(inner, home=tmp_path / "check") as check:
        assert pulled(check, "exp/tag", tmp_path) == snapshot(work)
        assert [found.number for found in versions.list_versions(check, "exp", "tag")] == [1]


def test_what_an_interrupted_copy_stored_is_not_stored_again(store, work, tmp_path, monkeypatch):
    version = capture(store, work, "exp", "tag").version
    inner = MemoryBackend("dying")
    home = tmp_path / "home"
    with open_store(inner, home=home) as target:
        from studio_cas.moving import copying

        def fail(*_arguments):
            raise TransientError("the network is gone")

        with monkeypatch.context() as patch:
            patch.setattr(copying.versions, "create", fail)
            with pytest.raises(TransientError):
                copy_version(store, target, version)
        before = packs_of(target)
        assert before
        assert copy_version(store, target, version).stored < 50_000
        assert packs_of(target) == before
    assert pulled(target, "exp/tag", tmp_path) == snapshot(work)


def test_a_store_is_not_copied_to_itself(store):
    with pytest.raises(UsageError, match="name another"):
        copy_scope(store, store, Scope("exp"))


def run(backend, experiment="exp", user="ann", **more) -> Created:
    created = Created(experiment, 0, user, "laptop", 1_700_000_000.0, ("train.py",), "/work", 60.0, **more)
    return records.create_attempt(backend, created)


def test_records_go_along_with_an_experiment(store, other, work):
    records.claim(store.backend, Owner("exp", "ann", "laptop", 1.0), join=False)
    capture(store, work, "exp", "tag")
    attempt = run(store.backend)
    records.write_heartbeat(store.backend, attempt, 1, 2.0)
    assert copy_scope(store, other, Scope("exp")).records == 1
    records.write_ended(store.backend, attempt, Ended(3.0, "finished", 0, versions={"tag": (1, 1)}))
    report = copy_scope(store, other, Scope("exp"))
    assert [one.state for one in report.versions] == ["there"]
    assert report.records == 1
    assert copy_scope(store, other, Scope("exp")).records == 0
    there = {found.key: bytes(other.backend.read(found.key)) for found in other.backend.list(keys.EXPERIMENTS)}
    here = {found.key: bytes(store.backend.read(found.key)) for found in store.backend.list(keys.EXPERIMENTS)}
    assert there == {key: data for key, data in here.items() if "heartbeats" not in key}


def test_an_attempt_whose_number_is_taken_gets_the_next_and_names_its_versions(store, other, work, tmp_path):
    (tmp_path / "mine").mkdir()
    capture(other, tmp_path / "mine", "exp", "tag")
    run(other.backend, user="bob")
    capture(store, work, "exp", "tag")
    attempt = run(store.backend)
    records.write_ended(store.backend, attempt, Ended(3.0, "finished", 0, versions={"tag": (1, 1)}))
    for expected in (2, 0):
        assert copy_scope(store, other, Scope("exp")).records == expected
    assert records.list_attempts(other.backend, "exp") == [1, 2]
    assert records.read_created(other.backend, "exp", 2) == replace(attempt, attempt=2)
    ended = formats.decode_ended(other.backend.read(formats.attempt_key("exp", 2, "ended")))
    assert ended.versions == {"tag": (2, 2)}


def test_an_experiment_of_somebody_else_is_left_alone(store, other, work):
    records.claim(store.backend, Owner("exp", "ann", "laptop", 1.0), join=False)
    records.claim(other.backend, Owner("exp", "bob", "laptop", 1.0), join=False)
    capture(store, work, "exp", "tag")
    with pytest.raises(ConflictError, match="belongs to bob"):
        copy_scope(store, other, Scope("exp"))
    assert versions.latest(other, "exp", "tag") is None
    copy_scope(store, other, Scope("exp"), join=True)
    assert versions.latest(other, "exp", "tag") is not None
    owner = records.read_owner(other.backend, "exp")
    assert owner is not None
    assert owner.user == "bob"


def test_many_leaves_and_files_in_parts_arrive(store, other, tmp_path, monkeypatch):
    from studio_cas.formats import leaf

    monkeypatch.setattr(leaf, "PART_MINIMUM", 4)
    monkeypatch.setattr(leaf, "PART_LIMIT", 6)
    monkeypatch.setattr(leaf, "ENTRY_LIMIT", 50)
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(400):
        (folder / f"{number:04}").write_bytes(os.urandom(3000))
    (folder / "0100-large").write_bytes(os.urandom(8_000_000))
    version = capture(store, folder, "exp", "tag").version
    copy_version(store, other, version)
    assert pulled(other, "exp/tag", tmp_path) == snapshot(folder)
    (folder / "0399").write_bytes(b"other")
    second = capture(store, folder, "exp", "tag").version
    assert copy_version(store, other, second).stored < 100_000
    assert pulled(other, "exp/tag@2", tmp_path, "second") == snapshot(folder)
