"""Which entries a pull wants, under which names, and which links may not be made."""

import posixpath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio_cas.errors import UsageError
from studio_cas.worktree.selection import Selection, link_leaves


def names(selection, *paths):
    """What is wanted of these paths; a folder is written with a slash at its end."""
    found = [selection.name(path.rstrip(b"/"), folder=path.endswith(b"/")) for path in paths]
    return [name for name in found if name is not None]


TREE = [b"a", b"d/", b"d/a", b"d/e/", b"d/e/b.txt", b"d-/", b"d-/a", b"z.txt"]


def test_without_a_wish_everything_is_wanted():
    assert names(Selection(), *TREE) == [path.rstrip(b"/") for path in TREE]
    assert Selection().everything


def test_a_folder_is_the_destination_and_what_is_in_it_is_named_from_there():
    assert names(Selection(b"d"), *TREE) == [b"a", b"e", b"e/b.txt"]


def test_a_file_becomes_its_last_name():
    assert names(Selection(b"d/e/b.txt"), *TREE) == [b"b.txt"]
    assert names(Selection(b"a"), *TREE) == [b"a"]


def test_a_name_that_only_begins_alike_is_not_wanted():
    assert names(Selection(b"d/e/b"), *TREE) == []


def test_include_takes_files_and_leaves_folders_to_them():
    assert names(Selection(include=["*.txt"]), *TREE) == [b"d/e/b.txt", b"z.txt"]
    assert names(Selection(include=["e/"]), *TREE) == [b"d/e/b.txt"]


def test_exclude_wins_over_include_and_takes_folders_with_what_is_in_them():
    assert names(Selection(include=["*.txt"], exclude=["e/"]), *TREE) == [b"z.txt"]
    assert names(Selection(exclude=["d/"]), *TREE) == [b"a", b"d-", b"d-/a", b"z.txt"]


def test_patterns_look_at_the_path_below_the_wanted_folder():
    assert names(Selection(b"d", include=["/a"]), *TREE) == [b"a"]
    assert names(Selection(b"d", include=["/d/a"]), *TREE) == []


def test_names_that_are_no_text_can_be_matched():
    assert names(Selection(include=["*.bin"]), b"\xff.bin", b"\xfe.txt") == [b"\xff.bin"]


def test_a_selection_knows_whether_it_filters():
    assert not Selection(b"d").filtered
    assert not Selection(b"d").everything
    assert Selection(exclude=["a"]).filtered


def test_a_pattern_that_makes_no_sense_is_a_usage_error():
    with pytest.raises(UsageError, match="include and exclude"):
        Selection(include=["[z-a]"])


@pytest.mark.parametrize(
    ("path", "target", "leaves"),
    [
        (b"l", b"a", False),
        (b"l", b"./a//b", False),
        (b"l", b"", False),
        (b"d/l", b"../a", False),
        (b"d/e/l", b"../../a", False),
        (b"l", b"..", True),
        (b"l", b"/etc", True),
        (b"d/l", b"../..", True),
        (b"d/l", b"a/../..", True),
        (b"d/e/l", b"../a/../b", True),
    ],
)
def test_a_link_may_not_lead_out(path, target, leaves):
    assert link_leaves(path, target) is leaves


NAMES = st.sampled_from([b"..", b".", b"a", b"b", b""])


@settings(max_examples=300)
@given(st.lists(st.sampled_from([b"a", b"b"]), min_size=1, max_size=3), st.lists(NAMES, max_size=6), st.booleans())
def test_whatever_a_link_says_one_that_is_made_stays_inside(parts, steps, absolute):
    path, target = b"/".join(parts), (b"/" if absolute else b"") + b"/".join(steps)
    if not link_leaves(path, target):
        # without links among the names on the way, which may be anything, only leading `..` climb
        resolved = posixpath.normpath(posixpath.join(b"/root", posixpath.dirname(path), target))
        assert resolved == b"/root" or resolved.startswith(b"/root/")
        assert not target.startswith(b"/")
