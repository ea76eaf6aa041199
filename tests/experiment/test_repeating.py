"""Planning the repetition of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio_cas.errors import ConflictError, NotFoundError, UsageError
from studio_cas.experiment.repeating import Wish, fetch, fresh_folder, plan_repetition
from studio_cas.experiment.specs import CaptureSpec, ReuseSpec
from studio_cas.formats.experiment import Reuse, RunArtifact
from studio_cas.progress import Silent
from studio_cas.worktree.capture import capture

PYTHON = "/opt/python"
WORKSPACE = RunArtifact("workspace", "/home/ann/project", mutable=True, default=True)


@pytest.fixture
def version(store, tmp_path):
    """Make the next version of an artifact of exp, a folder or a single file with that content."""

    def version(tag, content, *, name="file", single=False, experiment="exp"):
        path = tmp_path / "source" / tag / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return capture(store, path if single else path.parent, experiment, tag).version

    return version


@pytest.fixture
def plan(store, record, tmp_path):
    """Plan the repetition of a run of `train.py` in /home/ann/project that captured those artifacts."""

    def plan(*artifacts, left=None, places=None, root=tmp_path / "again", **asked):
        command = asked.pop("command", ("/usr/bin/python", "train.py"))
        created = record(
            artifacts=artifacts, folder="/home/ann/project", command=command, python="/usr/bin/python", **asked
        )
        spans = {"workspace": (1, 1)} if left is None else left
        return plan_repetition(store, created, spans, Wish("new", root, PYTHON, places or {}))

    return plan


def test_the_script_runs_in_its_workspace_with_the_python_of_this_machine(plan, version, tmp_path):
    version("workspace", "", name="train.py")
    found = plan(WORKSPACE, command=("/usr/bin/python", "train.py", "--lr=0.1", "x"), defaults=("workspace", "tb"))
    request = found.request
    assert request.command == (PYTHON, "train.py", "--lr=0.1", "x")
    assert request.folder == tmp_path / "again/workspace"
    assert (request.experiment, request.repeats, request.defaults) == ("new", "exp@1", ("workspace", "tb"))
    assert (request.captures, request.reuses) == ((), ())


def test_every_artifact_has_a_place_here_and_paths_in_the_command_follow(plan, version, tmp_path):
    version("workspace", "", name="train.py")
    version("data", "")
    version("one", "", name="one.txt", single=True)
    found = plan(
        WORKSPACE,
        RunArtifact("data", "/data/mnist", mutable=False),
        RunArtifact("one", "/etc/one.txt", mutable=True),
        RunArtifact("weights", "/home/ann/project/out/weights", mutable=True),
        RunArtifact("logs", "/home/ann/logs", mutable=True),
        RunArtifact("modeldir", "/home/ann/.studioml/experiments/exp/modeldir", mutable=True, default=True),
        left={"workspace": (1, 1), "data": (1, 1), "one": (1, 1)},
        command=(
            "/usr/bin/python",
            "/home/ann/project/train.py",
            "--data=/data/mnist/train",
            "/data/mnistier",
            "/home/ann",
            "/home/ann/project/out/weights/w.pt",
            "-x",
            "--y=z",
        ),
    )
    root = tmp_path / "again"
    assert found.request.captures == (
        CaptureSpec("data", root / "data", once=True),
        CaptureSpec("one", root / "one/one.txt", once=False),
        CaptureSpec("weights", root / "workspace/out/weights", once=False),
        CaptureSpec("logs", root / "logs", once=False),
    )
    assert found.request.command == (
        PYTHON, f"{root}/workspace/train.py", f"--data={root}/data/train", "/data/mnistier", "/home/ann",
        f"{root}/workspace/out/weights/w.pt", "-x", "--y=z",
    )  # fmt: skip
    assert [(part.version.name, part.dest) for part in found.fetches] == [
        ("exp/workspace@1", root / "workspace"),
        ("exp/data@1", root / "data"),
    ]


def test_another_place_can_be_named(plan, version, tmp_path):
    version("workspace", "", name="train.py")
    found = plan(WORKSPACE, RunArtifact("w", "/w", mutable=True), places={"w": Path("/mnt/w")})
    assert found.request.captures == (CaptureSpec("w", Path("/mnt/w"), once=False),)
    with pytest.raises(UsageError, match="captured no artifact 'wrokspace'; did you mean 'workspace'"):
        plan(WORKSPACE, places={"wrokspace": Path("/x")})


def test_the_first_state_of_the_workspace_is_taken(plan, version, store, tmp_path):
    for content in ("first", "edited for the next run"):
        version("workspace", content, name="train.py")
    fetch(store, plan(WORKSPACE, left={"workspace": (1, 2)}), Silent)
    assert (tmp_path / "again/workspace/train.py").read_text() == "first"


@pytest.mark.own_store
def test_reuses_are_the_recorded_versions_by_content_where_numbers_changed(plan, version, store):
    version("workspace", "", name="train.py")
    manifest = version("v", "one", experiment="other").manifest_id.hex()
    version("v", "two", experiment="other")
    reuse = RunArtifact("r", "/cache", mutable=False, reuse=Reuse("other", "v", 1, manifest))
    assert plan(WORKSPACE, reuse).request.reuses == (ReuseSpec("other/v@1", "r"),)
    version("v", "one", experiment="other")  # the same content under another number, and the first one is gone
    store.backend.delete(next(found.key for found in store.backend.list("versions/other/v/") if found.key[-1] == "8"))
    assert plan(WORKSPACE, reuse).request.reuses == (ReuseSpec("other/v@3", "r"),)
    gone = RunArtifact("r", "/cache", mutable=False, reuse=Reuse("other", "v", 1, "ab" * 32))
    with pytest.raises(NotFoundError, match="other/v has no version"):
        plan(WORKSPACE, gone)


@pytest.mark.parametrize(
    ("artifacts", "asked", "sentence"),
    [
        ((), {}, "its working folder /home/ann/project was not captured"),
        ((WORKSPACE,), {"left": {}}, "its workspace was never captured"),
        ((WORKSPACE, RunArtifact("d", "/d", mutable=False)), {}, "its d was never captured"),
        ((WORKSPACE,), {"command": ("/usr/bin/python", "../elsewhere/train.py")}, "lay outside of the working folder"),
        ((WORKSPACE,), {"command": ("/usr/bin/python", "/srv/train.py")}, "lay outside of the working folder"),
    ],
)
def test_what_the_store_lacks_is_told_before_anything_is_fetched(plan, version, artifacts, asked, sentence, tmp_path):
    version("workspace", "", name="train.py")
    with pytest.raises(NotFoundError, match=sentence):
        plan(*artifacts, **asked)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("/usr/bin/python", "gone.py"), "its workspace has no gone.py"),
        (("./gone.sh",), "its workspace has no ./gone.sh"),
        (("/home/ann/project/gone.sh",), "its workspace has no /.*/again/workspace/gone.sh"),
        (("no-such-program", "x"), "no program no-such-program on this machine"),
        (("/opt/no/such/program", "x"), "no program /opt/no/such/program on this machine"),
    ],
)
def test_a_program_that_was_left_out_is_told_before_the_run(plan, version, store, command, sentence):
    version("workspace", "", name="train.py")
    with pytest.raises(NotFoundError, match=sentence):
        fetch(store, plan(WORKSPACE, command=command), Silent)


@pytest.mark.parametrize("command", [("sh", "-c", "x"), ("/bin/sh",), ("./train.py",), ("/home/ann/project/train.py",)])
def test_any_program_that_is_here_can_be_repeated(plan, version, store, command):
    version("workspace", "", name="train.py")
    fetch(store, plan(WORKSPACE, command=command), Silent)


def test_a_folder_that_is_in_use_is_left_alone(plan, version, tmp_path):
    version("workspace", "", name="train.py")
    (tmp_path / "file").touch()
    with pytest.raises(ConflictError, match="is not empty"):
        plan(WORKSPACE, root=tmp_path)
    with pytest.raises(ConflictError, match="is a file"):
        plan(WORKSPACE, root=tmp_path / "file")


def test_without_a_folder_a_new_one_is_taken_each_time(tmp_path):
    first = fresh_folder(tmp_path, "new")
    first.mkdir(parents=True)
    assert fresh_folder(tmp_path, "new") != first
    assert first.is_relative_to(tmp_path / "experiments/new")
