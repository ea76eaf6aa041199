"""Known chunks are taken from where they lie only in runs."""

from hypothesis import given
from hypothesis import strategies as st

from studio_cas.formats.leaf import Place
from studio_cas.ids import PackId
from studio_cas.store.dedup import RUN_BYTES, RUN_CHUNKS, keep_runs

OURS, THEIRS = PackId(bytes(16)), PackId(b"\1" * 16)
SMALL = 1000


def place(pack=THEIRS):
    return Place(pack, 16, 1, SMALL, 0, 0)


def kept(pattern, *, length=SMALL, whole=False):
    """The pattern of what is kept: `.` unknown, `x` in a pack of others, `o` in one that the parent uses."""
    places = [None if mark == "." else place(OURS if mark == "o" else THEIRS) for mark in pattern]
    found = keep_runs(places, [length] * len(places), lambda pack: pack == OURS, whole=whole)
    return "".join("." if one is None else "o" if one.pack == OURS else "x" for one in found)


def test_a_short_run_in_the_middle_is_dropped():
    assert kept("..xxx..") == "......."


def test_four_chunks_in_a_row_are_kept():
    assert kept("..xxxx..") == "..xxxx.."


def test_a_mebibyte_in_a_row_is_kept():
    assert kept("..x..", length=RUN_BYTES) == "..x.."
    assert kept("..x..", length=RUN_BYTES - 1) == "....."


def test_packs_of_the_parent_are_kept_however_short_the_run():
    assert kept(".o.x.xo.") == ".o....o."


def test_a_run_of_both_counts_as_one():
    assert kept("..xoxo..") == "..xoxo.."


def test_runs_at_the_ends_of_a_batch_may_go_on_beyond_it():
    assert kept("x..x..x") == "x.....x"


def test_at_the_ends_of_a_whole_file_nothing_goes_on():
    assert kept("x..xx", whole=True) == "....."


def test_a_whole_file_that_is_known_is_kept():
    assert kept("xx", whole=True) == "xx"
    assert kept("x", whole=True) == "x"


def test_nothing_is_nothing():
    assert kept("") == ""


@given(st.text(".xo", max_size=30), st.booleans(), st.sampled_from([1, SMALL, RUN_BYTES // 2]))
def test_what_is_kept_was_there_and_nothing_long_is_dropped(pattern, whole, length):
    found = kept(pattern, length=length, whole=whole)
    for at, mark in enumerate(pattern):
        assert found[at] in {mark, "."}
        if mark == "o":
            assert found[at] == "o"
    for run in filter(None, pattern.replace("o", "x").split(".")):
        if len(run) >= RUN_CHUNKS or len(run) * length >= RUN_BYTES:
            assert found.replace("o", "x").count(run) >= 1
    assert kept(found, length=length, whole=whole) == found
