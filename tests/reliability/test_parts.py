"""Files whose chunks fill several leaves: updates and captures that reuse some of those leaves keep them whole."""

import os
import random

import pytest
from tests.reliability.folders import snapshot

from studio_cas.formats import leaf as leaves
from studio_cas.store.store import open_store
from studio_cas.worktree.capture import capture
from studio_cas.worktree.listing import entries, read_file
from studio_cas.worktree.materialise import materialise


@pytest.fixture(autouse=True)
def short_parts(monkeypatch):
    """Parts of a few dozen chunks, so that 20 MiB do what 20 GiB do."""
    monkeypatch.setattr(leaves, "PART_MINIMUM", 8)
    monkeypatch.setattr(leaves, "PART_LIMIT", 24)
    monkeypatch.setattr(leaves, "PART_MASK", 0x7)


@pytest.fixture
def model(work):
    for name in ("a1", "a2", "n1", "n2", "z1", "z2"):
        (work / name).write_bytes(name.encode() * 10)
    for name in ("b", "m", "x"):
        (work / name).write_bytes(random.Random(name).randbytes(12 << 20))
    return work


def change(path, at):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(os.urandom(10))


CHANGES = {
    "a neighbour before": lambda work: (work / "a1").write_bytes(b"changed"),
    "a neighbour between": lambda work: (work / "n1").write_bytes(b"changed"),
    "a neighbour after": lambda work: (work / "z1").write_bytes(b"changed"),
    "the beginning": lambda work: change(work / "m", 5),
    "the middle": lambda work: change(work / "m", 6 << 20),
    "the end": lambda work: change(work / "m", (12 << 20) - 20),
    "cut short": lambda work: os.truncate(work / "m", 7 << 20),
    "cut very short": lambda work: os.truncate(work / "m", 9),
    "grown": lambda work: os.truncate(work / "m", 16 << 20),
    "gone": lambda work: (work / "m").unlink(),
    "one more": lambda work: (work / "k").write_bytes(os.urandom(8 << 20)),
    "touched": lambda work: os.utime(work / "m"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_in_or_beside_a_file_of_many_parts(store, model, out, what, tmp_path):
    first = capture(store, model, "exp", "tag").version
    materialise(store, first, out / "here")
    before = snapshot(model)
    CHANGES[what](model)
    second = capture(store, model, "exp", "tag").version
    materialise(store, second, out / "here")
    assert snapshot(out / "here") == snapshot(model)
    materialise(store, second, out / "fresh")
    assert snapshot(out / "fresh") == snapshot(model)
    assert b"".join(read_file(store, second, b"x")) == (model / "x").read_bytes()
    assert {entry.path: entry.size for entry in entries(store, second)} == {
        path: len(content) for path, (*_, content) in snapshot(model).items()
    }
    with open_store(tmp_path / "other", home=tmp_path / "other-home") as other:
        assert capture(other, model, "exp", "tag").version.manifest_id == second.manifest_id
    materialise(store, first, out / "here")
    assert snapshot(out / "here") == before


def test_a_pull_of_part_of_it(store, model, out):
    version = capture(store, model, "exp", "tag").version
    materialise(store, version, out / "some", include=["m", "z*"])
    assert snapshot(out / "some").keys() == {b"m", b"z1", b"z2"}
    assert (out / "some" / "m").read_bytes() == (model / "m").read_bytes()
    materialise(store, version, out / "m", path=b"m")
    assert (out / "m").read_bytes() == (model / "m").read_bytes()


@pytest.mark.parametrize("seed", range(6))
def test_a_stat_cache_that_was_cut_short_between_two_parts(store, work, out, seed):
    """A leaf goes on in the next one: where the stat cache lost that, the leaf must not be taken for whole."""
    (work / "a").write_bytes(b"a")
    (work / "m").write_bytes(random.Random(seed).randbytes(12 << 20))
    first = capture(store, work, "exp", "tag").version
    (state,) = (store.cache_dir / "states").glob("*.state")
    data = state.read_bytes()
    ends = [at for at in range(len(data)) if data.startswith((b"SCSTBLK\0", b"SCSTEND\0"), at)]
    assert len(ends) > 2
    state.write_bytes(data[: ends[1 + seed % (len(ends) - 1)]])
    again = capture(store, work, "exp", "tag").version
    assert again.manifest_id == first.manifest_id
    materialise(store, again, out / "here")
    assert snapshot(out / "here") == snapshot(work)
