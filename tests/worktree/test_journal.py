"""Which pulls stopped while they changed a destination: remembered until one of them ends."""

import pytest

from studio_cas.worktree.capture import capture
from studio_cas.worktree.journal import Journal


@pytest.fixture
def versions(store, work):
    (work / "d").mkdir()
    made = []
    for number in (1, 2):
        (work / "d" / "file").write_bytes(b"%d" % number)
        made.append(capture(store, work, "exp", "tag").version)
    return made


@pytest.fixture
def journal_file(store):
    def found():
        return sorted((store.cache_dir / "states").glob("*.pulling"))

    return found


def literals(store, out, name):
    return [entry.literal for entry in Journal(store, out).entries(name)]


def test_what_a_pull_was_putting_in_place_is_ours(store, out, versions):
    for version in versions:
        Journal(store, out).begin(version, b"")
    assert literals(store, out, b"d/file") == [b"1", b"2"]
    assert literals(store, out, b"d/other") == []


def test_of_a_part_names_are_those_in_the_destination(store, out, versions):
    Journal(store, out).begin(versions[0], b"d")
    assert literals(store, out, b"file") == [b"1"]
    assert literals(store, out, b"d/file") == []


def test_each_destination_has_its_own(store, out, versions):
    Journal(store, out / "a").begin(versions[0], b"")
    assert literals(store, out / "b", b"d/file") == []


def test_at_the_end_nothing_is_left(store, out, versions, journal_file):
    journal = Journal(store, out)
    journal.begin(versions[0], b"")
    assert len(journal_file()) == 1
    journal.end()
    assert journal_file() == []
    journal.end()
    assert literals(store, out, b"d/file") == []


@pytest.mark.parametrize(
    "line",
    ["", "noise", "[", "{}", "null", "[1]", '["exp", "tag", 1]', '["exp", "tag", "x", ""]', '["../x", "tag", 1, ""]',
     '["exp", "tag", 99, ""]', '["exp", "tag", 1, 7]', '["exp", "tag", 1, "\\ud800"]', "[" * 100_000],
)  # fmt: skip
def test_a_line_that_makes_no_sense_hides_no_other(store, out, versions, journal_file, line):
    Journal(store, out).begin(versions[0], b"")
    (file,) = journal_file()
    file.write_text(line + "\n" + file.read_text())
    assert literals(store, out, b"d/file") == [b"1"]


def test_bytes_that_are_no_text_are_no_journal(store, out, versions, journal_file):
    Journal(store, out).begin(versions[0], b"")
    (file,) = journal_file()
    file.write_bytes(b"\xff\xfe" + file.read_bytes())
    assert literals(store, out, b"d/file") == []


def test_a_cache_that_cannot_be_written_stops_no_pull(store, out, versions):
    states = store.cache_dir / "states"
    states.rename(states.with_name("moved"))
    states.write_bytes(b"in the way")
    journal = Journal(store, out)
    journal.begin(versions[0], b"")
    journal.end()
    assert literals(store, out, b"d/file") == []
