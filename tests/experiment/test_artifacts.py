"""What a run captures, and what each capture leaves out."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio_cas.errors import LocalIOError, NotFoundError, UsageError
from studio_cas.experiment.artifacts import (
    Captured,
    check_paths,
    check_tags,
    default_places,
    exclusion_of,
    make_folders,
    output_file,
    plan_captures,
)
from studio_cas.experiment.specs import CaptureSpec, ReuseSpec
from studio_cas.experiment.workspace import LEFT_OUT, find_environments, patterns_for_files, survey
from studio_cas.sync.engine import is_empty

DEFAULTS = ("workspace", "output", "modeldir", "tb")


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home" / "store").mkdir(parents=True)
    return tmp_path / "home"


def test_two_options_cannot_give_one_tag(tmp_path):
    capture, once = CaptureSpec("w", tmp_path, once=False), CaptureSpec("w", tmp_path, once=True)
    reuse = ReuseSpec("e/t", "w")
    for captures, reuses in (([capture, once], []), ([once], [reuse]), ([], [reuse, reuse])):
        with pytest.raises(UsageError, match="two artifacts have the tag 'w'"):
            check_tags(captures, reuses)
    check_tags([capture], [ReuseSpec("e/w", "v")])


def test_a_missing_capture_once_path_is_an_error(tmp_path, home):
    with pytest.raises(NotFoundError, match="does not exist"):
        check_paths([CaptureSpec("w", tmp_path / "missing", once=True)], None, home)
    check_paths([CaptureSpec("w", tmp_path / "missing", once=False)], None, home)


@pytest.mark.parametrize("inside", ["store", "store/packs", "blobcache/x", "cache"])
def test_what_studio_keeps_for_itself_cannot_be_captured(home, inside):
    (home / inside).mkdir(parents=True, exist_ok=True)
    with pytest.raises(UsageError, match="keeps for itself"):
        check_paths([CaptureSpec("w", home / inside, once=False)], None, home)


def test_a_store_elsewhere_cannot_be_captured_even_through_a_link(tmp_path, home):
    (tmp_path / "store").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "store")
    with pytest.raises(UsageError, match="keeps for itself"):
        check_paths([CaptureSpec("w", tmp_path / "link" / "packs", once=False)], tmp_path / "store", home)


def test_a_fifo_cannot_be_captured(tmp_path, home):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        check_paths([CaptureSpec("w", tmp_path / "fifo", once=False)], None, home)


def plan(tmp_path, captures=(), taken=(), defaults=DEFAULTS):
    return plan_captures(captures, defaults, taken, default_places(tmp_path, tmp_path / "home", "exp"))


def test_the_defaults_are_captured_without_being_asked(tmp_path):
    folders = {artifact.tag: artifact.path for artifact in plan(tmp_path)}
    experiment = tmp_path / "home/experiments/exp"
    assert folders == {"workspace": tmp_path, "modeldir": experiment / "modeldir", "tb": experiment / "tb"}
    assert all(artifact.default and not artifact.once for artifact in plan(tmp_path))


def test_a_capture_or_a_reuse_with_its_tag_replaces_a_default(tmp_path):
    planned = plan(tmp_path, [CaptureSpec("workspace", tmp_path / "w", once=True)], ["tb"])
    assert [(one.tag, one.once, one.default) for one in planned] == [
        ("workspace", True, False),
        ("modeldir", False, True),
    ]


def test_output_is_in_the_way_of_no_artifact(home):
    assert output_file(home, "exp", 7) == home / "experiments/exp/.attempts/0007/output"


def test_missing_folders_are_made_but_those_of_capture_once(tmp_path):
    one, two = Captured("a", tmp_path / "a/b"), Captured("b", tmp_path / "c", once=True)
    assert make_folders([one, two]) == [tmp_path / "a/b"]
    assert make_folders([one]) == []
    assert not (tmp_path / "c").exists()
    (tmp_path / "file").touch()
    with pytest.raises(LocalIOError, match="cannot be made"):
        make_folders([Captured("x", tmp_path / "file" / "folder")])


def test_an_exclusion_has_the_store_the_home_and_the_other_artifacts(tmp_path, home):
    (tmp_path / "w").mkdir()
    (tmp_path / "log").touch()
    workspace = Captured("workspace", tmp_path, default=True)
    others = [workspace, Captured("w", tmp_path / "w"), Captured("log", tmp_path / "log"), Captured("same", tmp_path)]
    found = exclusion_of(workspace, others, tmp_path / "store", home, whole=True)
    assert set(found.folders) == {tmp_path / "store", home, tmp_path / "w"}
    assert found.patterns == ("/log",)
    assert set(LEFT_OUT) < set(exclusion_of(workspace, others, None, home, whole=False).patterns)


def test_only_the_default_workspace_spares_what_tools_make(tmp_path, home):
    asked = Captured("workspace", tmp_path)
    assert exclusion_of(asked, [asked], None, home, whole=False).patterns == ()


def test_environments_are_found_by_what_they_hold(tmp_path):
    for mark in ("odd name/pyvenv.cfg", "a/b/conda/conda-meta/x", "a/b/c/d/deep/pyvenv.cfg", "plain/file"):
        (tmp_path / mark).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / mark).touch()
    (tmp_path / "pyvenv.cfg").touch()  # a run inside an environment captures it all the same
    assert sorted(find_environments(tmp_path)) == [tmp_path / "a/b/conda", tmp_path / "odd name"]


def test_files_are_left_out_by_their_place(tmp_path):
    assert patterns_for_files(tmp_path, [tmp_path / "a/b", tmp_path.parent / "c", tmp_path]) == ["/a/b"]


@given(st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_a_pattern_for_a_file_matches_that_file(name):
    import pathspec

    pattern = patterns_for_files("/root", [f"/root/{name}"])  # type: ignore[arg-type]
    if pattern and name not in {".", ".."}:
        spec = pathspec.GitIgnoreSpec.from_lines(pattern)
        assert spec.match_file(name)
        assert not spec.match_file(f"other/{name}")


def test_emptiness(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    assert is_empty(tmp_path / "folder")
    assert is_empty(tmp_path / "missing")
    assert not is_empty(tmp_path / "file")
    assert not is_empty(tmp_path)


def test_a_survey_names_the_largest_parts(tmp_path):
    for name, size in (
        ("a/x", 3000),
        ("a/y", 3000),
        ("b/z", 5000),
        ("c", 10),
        ("skipped/huge", 9999),
        ("out/huge", 9999),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    found = survey(tmp_path, ["skipped/"], [tmp_path / "out"])
    assert found.size == 11010
    assert found.largest == (("a/", 6000), ("b/", 5000), ("c", 10))
    assert found.complete


def test_a_survey_of_what_cannot_be_read_is_not_complete(tmp_path):
    assert not survey(tmp_path / "missing", [], []).complete
