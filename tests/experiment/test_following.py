"""What a run has printed, and what it prints from now on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio_cas.errors import NotFoundError, UsageError
from studio_cas.experiment import following
from studio_cas.experiment.records import read_attempt
from studio_cas.formats.experiment import Ended, RunArtifact
from studio_cas.worktree.capture import capture


class Written:
    """An output whose bytes come as a test says."""

    def __init__(self, *contents):
        self.contents = list(contents)
        self.content = b""
        self.asked = []

    def size(self):
        if self.contents:
            self.content = self.contents.pop(0)
        return len(self.content)

    def read(self, start):
        self.asked.append(start)
        yield from (self.content[at : at + 3] for at in range(start, len(self.content), 3))


LINES = st.lists(st.text("ab", max_size=9), max_size=12)


@given(lines=LINES, ended=st.booleans(), wanted=st.integers(0, 15), window=st.integers(1, 20))
def test_the_last_lines(lines, ended, wanted, window):
    text = "\n".join(lines) + ("\n" if ended and lines else "")
    output = Written(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(following, "WINDOW", window)
        start = following.last_lines(output, output.size(), wanted)
    assert text[start:] == "".join(text.splitlines(keepends=True)[-wanted:] if wanted else "")


def test_following_gives_what_is_new_and_ends_with_the_run():
    output = Written(b"one\n", b"one\n", b"one\ntwo\nthree\n", b"one\ntwo\nthree\nfour\n")
    over = iter([False, False, False, True])
    waited = []
    pieces = following.follow(output, 0, lambda: next(over), lambda: waited.append(1))
    assert b"".join(pieces) == b"one\ntwo\nthree\nfour\n"
    assert len(waited) == 3
    assert output.asked == [0, 4, 14]  # what was read is not read again


def test_without_following_it_is_read_once():
    pieces = following.follow(Written(b"one\n", b"more\n"), 1, lambda: True, pytest.fail)
    assert b"".join(pieces) == b"ne\n"


def test_a_file_of_this_machine_is_read_as_it_grows(tmp_path):
    output = following.LocalOutput(tmp_path / "output")
    assert (output.size(), list(output.read(0))) == (0, [])
    output.file.write_bytes(b"one\n")
    assert output.size() == 4
    assert list(output.read(2)) == [b"e\n"]


@pytest.fixture
def stored(store, tmp_path):
    """Make the next version of exp/output, with that content; what is returned is its number."""

    def stored(content):
        (tmp_path / "output").write_bytes(content)
        return capture(store, tmp_path / "output", "exp", "output").version.number

    return stored


def output_of(store, created, following_created=None):
    def look():
        return read_attempt(store.backend, "exp", created.attempt, created.time + 1)

    return following.StoredOutput(store, look, following_created)


def test_only_the_new_tail_is_fetched(store, record, stored, monkeypatch):
    created = record(started=True)
    stored(b"".join(b"%7d\n" % n for n in range(1 << 17)))  # 1 MiB
    output = output_of(store, created)
    assert output.size() == 1 << 20
    tail = b"the end\n" * 100
    stored(b"".join(b"%7d\n" % n for n in range(1 << 17)) + tail)
    assert output.size() == (1 << 20) + len(tail)
    read = []
    real = store.backend.read
    monkeypatch.setattr(
        store.backend, "read", lambda *words: read.append((words[0], result := real(*words))[1:]) or result
    )
    assert b"".join(output.read(1 << 20)) == tail
    assert sum(len(found) for (found,) in read) < 200_000
    for start in (0, 1, 65536, 300_000, (1 << 20) + 799):
        assert len(b"".join(output.read(start))) == (1 << 20) + len(tail) - start


def test_the_output_of_an_earlier_attempt_is_not_this_ones(store, record, stored):
    now = __import__("time").time()
    first = record(started=True, time=now - 100)
    stored(b"first\n")
    second = record(started=True, time=now + 100)
    assert output_of(store, second).size() == 0
    assert output_of(store, first, now + 100).size() == 6


def test_the_same_words_again_make_no_version_and_are_shown(store, record, stored):
    number = stored(b"same\n")
    created = record(started=True, ended=Ended(1e10, "finished", 0, versions={"output": (number, number)}), time=1e10)
    output = output_of(store, created)
    assert output.size() == 5
    assert b"".join(output.read(0)) == b"same\n"


def test_a_folder_under_that_name_has_nothing_to_print(store, record, tmp_path):
    (tmp_path / "folder").mkdir()
    created = record(started=True, artifacts=(RunArtifact("output", "/x", mutable=True),))
    capture(store, tmp_path / "folder", "exp", "output")
    with pytest.raises(UsageError, match="exp/output@1 is a folder"):
        output_of(store, created).size()


def test_a_run_without_output_is_told(store, record):
    attempt = read_attempt(store.backend, "exp", record(defaults=()).attempt, 0.0)
    with pytest.raises(NotFoundError, match="--no-output"):
        following.check_captured(attempt)
