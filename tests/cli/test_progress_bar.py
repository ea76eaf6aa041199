"""The progress bar: on a terminal, after a while, with a rate and the time left."""

from __future__ import annotations

import io
import re
import threading

import pytest

from studio_cas.cli import progress_bar as bars
from studio_cas.progress import Silent

MIB = 1 << 20


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def new_bar(monkeypatch):
    """Makes a bar on a terminal; a fixture cannot set stderr itself, since pytest sets it again before the test."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")

    def new_bar(root=None, patience=0.0):
        terminal = FakeTerminal()
        monkeypatch.setattr("sys.stderr", terminal)
        monkeypatch.setattr(bars, "PATIENCE", patience)
        return bars.progress_bar(root), terminal

    return new_bar


def text_of(screen: FakeTerminal) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())


def test_there_is_none_where_stderr_is_no_terminal():
    assert isinstance(bars.progress_bar(), Silent)


def test_short_work_shows_nothing(new_bar):
    bar, screen = new_bar(patience=60.0)
    bar.start("pull", 10)
    bar.advance(10, 1)
    bar.finish()
    assert screen.getvalue() == ""


def test_long_work_shows_amount_files_and_rate(new_bar):
    bar, screen = new_bar()
    bar.start("pull exp/[w]", 10 * MIB)
    bar.advance(MIB)
    bar.advance(MIB)
    bar.advance(MIB, 1_234)
    bar.finish()
    shown = text_of(screen)
    assert "pull exp/[w]" in shown
    assert "3.0/10.0 MiB" in shown
    assert re.search(r"[0-9.]+ [KMGT]iB/s", shown)
    assert "1,234 files" in shown


def test_a_second_phase_begins_from_nothing(new_bar):
    bar, screen = new_bar()
    bar.start("first", 10 * MIB)
    bar.advance(10 * MIB)
    bar.start("second", 4 * MIB)
    bar.advance(1 * MIB)
    bar.finish()
    assert "1.0/4.0 MiB" in text_of(screen)


@pytest.mark.parametrize("single", [False, True])
def test_what_is_captured_is_weighed_on_the_way(new_bar, tmp_path, single):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a").write_bytes(bytes(3 * MIB))
    (tmp_path / "b").write_bytes(bytes(2 * MIB))
    bar, screen = new_bar(tmp_path / "b" if single else tmp_path)
    bar.start("capture")
    bar.advance(1)
    (weigher,) = [thread for thread in threading.enumerate() if thread.name == "weigh"] or [None]
    if weigher is not None:
        weigher.join()
    bar.advance(MIB - 1)
    bar.finish()
    assert f"1.0/{2 if single else 5}.0 MiB" in text_of(screen)
    assert not [thread for thread in threading.enumerate() if thread.name == "weigh"]


def test_a_folder_that_cannot_be_weighed_is_no_error(new_bar, tmp_path):
    bar, _ = new_bar(tmp_path / "gone")
    bar.start("capture")
    bar.advance(5)
    bar.finish()
