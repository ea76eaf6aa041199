"""A few kills of the soak (soak_kill.py): whatever is killed, versions are whole, and the next try succeeds."""

import os

import pytest
from tests.reliability.folders import fill, names
from tests.reliability.soak_kill import ACTIONS, Soak

from studio_cas.worktree import fresh, single
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise

TRIES = 20  # a child that is done before it is killed is killed sooner the next time


@pytest.mark.parametrize("seed", [1, 2])
def test_versions_are_whole_whatever_was_killed(tmp_path, seed):
    soak = Soak(tmp_path, seed)
    for action in ACTIONS:
        for _ in range(TRIES):
            soak.kill(action)
            if soak.killed[action]:
                break
    soak.verify_all()
    assert all(soak.killed.values()), f"some were always done before they were killed: {soak.killed}"


@pytest.mark.parametrize("again", ["the same", "another"])
@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_pull_that_is_killed_when_all_is_in_place_leaves_nothing_to_the_next(
    store, work, out, monkeypatch, what, again
):
    fill(work)
    source = work if what == "folder" else work / "big"
    version = capture(store, source, "exp", "tag").version
    module, installing = (fresh, "_install") if what == "folder" else (single, "_replace")
    install = getattr(module, installing)

    def killed(*arguments):
        install(*arguments)
        os._exit(9)

    monkeypatch.setattr(module, installing, killed)
    child = os.fork()
    if not child:
        materialise(store, version, out / "here")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert names(out) == [".here.studio-partial", "here"]
    monkeypatch.undo()
    if again == "another":
        (work / "big").write_bytes(b"changed")
        version = capture(store, source, "exp", "tag").version
    materialise(store, version, out / "here")
    assert names(out) == ["here"]
    assert (out / "here" / "big" if what == "folder" else out / "here").read_bytes() == (work / "big").read_bytes()
