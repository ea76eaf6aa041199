"""A file of more than 1,024 chunks, with the real limits of its parts: leaves of some are reused, of others not."""

import os

import pytest
from tests.reliability.folders import snapshot

from studio_cas.formats import leaf as leaves
from studio_cas.ids import digest
from studio_cas.store.store import open_store
from studio_cas.store.trees import TreeReader
from studio_cas.worktree.capture import capture
from studio_cas.worktree.listing import entries, read_file
from studio_cas.worktree.materialise import materialise

BLOCK = 64 * 1024
PART = leaves.PART_MINIMUM
LAST = 12


def end_of_part():
    """A block whose id says that a part ends after it."""
    number = 0
    while True:
        block = b"%016d" % number + bytes(BLOCK - 16)
        if int.from_bytes(digest(block)[-2:], "little") & leaves.PART_MASK == leaves.PART_MASK:
            return block
        number += 1


@pytest.fixture
def model(work):
    """`m.mdb` is cut into equal blocks: two parts of 1,024 that are nearly all zeros, and a short one."""
    work.joinpath("m.mdb").write_bytes(b"")
    end = end_of_part()
    with (work / "m.mdb").open("r+b") as file:
        for part in (1, 2):
            file.seek((part * PART - 1) * BLOCK)
            file.write(end)
        file.write(os.urandom(LAST * BLOCK))
    for name in ("a", "z"):
        (work / name).write_bytes(os.urandom(2000))
    return work


def parts_of(store, version):
    """The leaf ids of the parts of the file."""
    return [row.leaf_id for row, leaf in TreeReader(store, version).leaves() if b"m.mdb" in leaf.paths]


def write(work, block):
    with (work / "m.mdb").open("r+b") as file:
        file.seek(block * BLOCK)
        file.write(os.urandom(100))


CHANGES = {
    "the last part": (lambda work: write(work, 2 * PART + 3), 2),
    "the part in the middle": (lambda work: write(work, PART + 5), 1),
    "the first part": (lambda work: write(work, 5), 0),
    "one block more": (lambda work: write(work, 2 * PART + LAST), 2),
    "no last part": (lambda work: os.truncate(work / "m.mdb", 2 * PART * BLOCK), 1),
    "a neighbour behind": (lambda work: (work / "z").write_bytes(b"z"), 2),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_leaf_of_the_first_part_is_reused_and_the_file_is_whole(store, model, out, tmp_path, what):
    change, same = CHANGES[what]
    first = capture(store, model, "exp", "tag").version
    before = parts_of(store, first)
    assert len(before) == 3
    materialise(store, first, out / "here")
    change(model)
    second = capture(store, model, "exp", "tag").version
    after = parts_of(store, second)
    assert after[:same] == before[:same]
    assert after != before
    materialise(store, second, out / "here")
    assert snapshot(out / "here") == snapshot(model)
    materialise(store, second, out / "fresh")
    assert snapshot(out / "fresh") == snapshot(model)
    assert b"".join(read_file(store, second, b"m.mdb")) == (model / "m.mdb").read_bytes()
    assert {found.path: found.size for found in entries(store, second)}[b"m.mdb"] == (model / "m.mdb").stat().st_size
    with open_store(tmp_path / "other", home=tmp_path / "other-home") as other:
        assert capture(other, model, "exp", "tag").version.manifest_id == second.manifest_id
    third = capture(store, model, "exp", "tag")
    assert not third.created
    materialise(store, first, out / "here")
    assert (out / "here" / "m.mdb").read_bytes() == b"".join(read_file(store, first, b"m.mdb"))
