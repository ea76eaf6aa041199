"""The caches of a machine are an optimisation: full, unwritable or damaged, they cost time and nothing else."""

import os
import random
import shutil

import pytest
from tests.reliability.folders import as_nobody, fill, names, snapshot

from studio_cas.store.store import open_store
from studio_cas.store.versions import resolve
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")


def states(store):
    return sorted((store.cache_dir / "states").glob("*.state"))


def test_a_cache_folder_that_is_a_file_stops_nothing(tmp_path, work, out):
    home = tmp_path / "home"
    home.mkdir()
    (home / "cache").write_text("in the way")
    with open_store(tmp_path / "store", home=home) as store:
        version = capture(store, fill(work), "exp", "tag").version
        materialise(store, version, out / "here")
        (work / "new").write_bytes(b"new")
        again = capture(store, work, "exp", "tag")
        materialise(store, again.version, out / "here", force=True)
    assert snapshot(out / "here") == snapshot(work)
    assert (home / "cache").read_text() == "in the way"


@ROOT
@pytest.mark.parametrize("what", ["cache", "states", "catalog"])
def test_a_cache_that_may_not_be_written_stops_nothing(tmp_path, work, open_to_all, what):
    home = tmp_path / "home"
    work.chmod(0o755)
    fill(work)

    def twice():
        with open_store(tmp_path / "store", home=home) as store:
            first = capture(store, work, "exp", "tag", user="nobody")
            second = capture(store, work, "exp", "tag", user="nobody")
            materialise(store, first.version, tmp_path / f"pulled-{what}")
            return first.created, second.created, second.bytes_read > 0

    assert as_nobody(twice) == "(True, False, False)"
    (cache,) = (home / "cache").iterdir()
    locked = {"cache": cache, "states": cache / "states", "catalog": cache / "catalog.sqlite"}[what]
    os.chown(locked, 0, 0)
    locked.chmod(0o555 if locked.is_dir() else 0o444)
    (work / "changed").write_bytes(b"changed" * 1000)
    shutil.rmtree(tmp_path / f"pulled-{what}")
    assert as_nobody(twice).startswith("(True, False, ")
    assert snapshot(tmp_path / f"pulled-{what}") == snapshot(work)


@pytest.mark.parametrize("seed", range(24))
def test_a_damaged_stat_cache_is_read_up_to_the_damage(store, work, out, seed):
    source = random.Random(seed)
    for number in range(1500 if seed % 2 else 5):
        (work / f"{number:04}-{'x' * 20}").write_bytes(b"%d" % number * (1 if number % 3 else 800))
    first = capture(store, work, "exp", "tag").version
    (state,) = states(store)
    data = bytearray(state.read_bytes())
    if seed % 4 == 3:
        del data[source.randrange(len(data)) :]
    else:
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)
    state.write_bytes(data)
    again = capture(store, work, "exp", "tag")
    assert not again.created
    assert again.version.manifest_id == first.manifest_id
    (work / "one-more").write_bytes(b"new")
    newer = capture(store, work, "exp", "tag").version
    materialise(store, newer, out / "here")
    assert snapshot(out / "here") == snapshot(work)


@pytest.mark.parametrize("seed", range(20))
def test_a_stat_cache_of_zeros_or_noise_is_no_stat_cache(store, work, seed):
    capture(store, fill(work, big=100_000), "exp", "tag")
    (state,) = states(store)
    size = state.stat().st_size
    head = state.read_bytes()[: seed * 8]
    state.write_bytes(head + (bytes(size) if seed % 2 else random.Random(seed).randbytes(size)))
    assert not capture(store, work, "exp", "tag").created


@pytest.mark.parametrize("damage", ["zeros", "noise", "cut", "folder", "late"])
def test_a_damaged_catalog_is_thrown_away(tmp_path, work, out, damage):
    def opened():
        return open_store(tmp_path / "store", home=tmp_path / "home")

    with opened() as store:
        capture(store, fill(work), "exp", "tag")
        catalog = store.cache_dir / "catalog.sqlite"
    data = catalog.read_bytes()
    if damage == "folder":
        catalog.unlink()
        catalog.mkdir()
    elif damage == "cut":
        catalog.write_bytes(data[: len(data) // 2])
    elif damage == "late":
        catalog.write_bytes(data[:4096] + random.Random(1).randbytes(len(data) - 4096))
    else:
        catalog.write_bytes(bytes(len(data)) if damage == "zeros" else random.Random(1).randbytes(len(data)))
    (work / "new").write_bytes(random.Random(5).randbytes(50_000))
    shutil.rmtree(tmp_path / "home" / "cache" / catalog.parent.name / "states")
    with opened() as store:
        made = capture(store, work, "exp", "tag")
        materialise(store, made.version, out / "here")
    assert snapshot(out / "here") == snapshot(work)
    if damage != "folder":
        with opened() as store:  # by now there is a sound one
            capture(store, fill(work, seed=2), "exp", "tag")
        with opened() as store:
            assert capture(store, fill(work, seed=2), "exp", "other").bytes_stored < 20_000


def test_a_cache_folder_that_vanishes_while_the_store_is_open(store, work, out, home):
    capture(store, fill(work), "exp", "tag")
    shutil.rmtree(home)
    (work / "new").write_bytes(b"new" * 10_000)
    newer = capture(store, work, "exp", "tag").version
    materialise(store, newer, out / "here")
    assert snapshot(out / "here") == snapshot(work)


def test_killed_writers_of_the_stat_cache_leave_nothing_for_ever(store, work):
    capture(store, fill(work), "exp", "tag")
    (state,) = states(store)
    left = state.with_name(f"{state.name}.123.abcdef")
    left.write_bytes(b"left")
    os.utime(left, (1, 1))
    (work / "new").write_bytes(b"new")
    capture(store, work, "exp", "tag")
    assert names(state.parent) == [state.name]


def test_two_machines_with_their_own_caches_agree(tmp_path, work, out):
    fill(work, big=10 << 20)
    made = []
    for machine in ("one", "two"):
        with open_store(tmp_path / "store", home=tmp_path / machine) as store:
            made.append(capture(store, work, "exp", machine).version)
            assert resolve(store, f"exp/{machine}").manifest_id == made[0].manifest_id
    assert made[1].stored < made[0].stored // 50
