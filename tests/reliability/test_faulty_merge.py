"""The store dies at each call of a capture that merges: no version is hurt, and what is left is garbage."""

from __future__ import annotations

import random

import pytest
from tests.reliability.folders import fill, snapshot
from tests.reliability.test_faulty_commit import Faulty, in_time, pulls

from studio_cas.store.merging import NEVER, Policy
from studio_cas.store.recent import RecentPacks
from studio_cas.store.store import open_store
from studio_cas.store.trees import TreeReader
from studio_cas.store.versions import latest
from studio_cas.worktree import statcache
from studio_cas.worktree.capture import capture

EAGER = Policy(many=3)


def change(work, number):
    (work / f"new-{number}").write_bytes(random.Random(number).randbytes(5000))
    return snapshot(work)


def packs(store):
    return TreeReader(store, latest(store, "exp", "tag")).root.packs


@pytest.mark.parametrize("forever", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_capture_that_merges_and_dies_at_any_call(tmp_path, out, work, after, forever):
    at, reached = 0, True
    while reached:
        backend = Faulty()
        folder = fill(work / str(at), big=200_000)
        with open_store(backend, home=tmp_path / f"home-{at}") as store:
            store.merging = NEVER
            store.recent = RecentPacks(limit=0)  # merging reads the store, as after a restart
            expected = {}
            for number in range(4):
                expected[number + 1] = change(folder, number)
                capture(store, folder, "exp", "tag")
            store.merging = EAGER
            expected[5] = change(folder, 4)
            backend.arm(at, after=after, forever=forever)
            error = in_time(lambda store=store, folder=folder: capture(store, folder, "exp", "tag"))
            reached = backend.left < 0
            backend.disarm()
            assert reached or error is None
            pulls(store, out, {4: expected[4]})
            assert capture(store, folder, "exp", "tag").version.number == 5
            pulls(store, out, {1: expected[1], 4: expected[4], 5: expected[5]})
            expected[6] = change(folder, 5)
            capture(store, folder, "exp", "tag")
            pulls(store, out, {5: expected[5], 6: expected[6]})
            assert len(packs(store)) <= 3
            state = statcache.path_of(store, folder)
            assert not list(state.parent.glob(f"{state.name}.*"))
        at += 1
    assert at >= 8
