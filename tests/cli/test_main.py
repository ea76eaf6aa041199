"""The edges of the process: before anything is imported, and after all is done."""

from __future__ import annotations

import subprocess
import sys

import pytest

INTERRUPT_AT_IMPORT = """\
import sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
"""
INTERRUPT_AT_EXIT = """\
import atexit, os, signal
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
"""
CALLS = [("ls", "exp"), ("cat", "exp/w/notes.txt"), ("--help",), ("run", "--help"), ("--version",)]


def run_after(terminal, preparation: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    call = f"import sys\nsys.argv = {['studio', *arguments]!r}\nfrom studio_cas.cli.main import main\nmain()"
    program = f"{preparation}\n{call}"
    return subprocess.run(
        [sys.executable, "-c", program], env=terminal.environment, capture_output=True, text=True, check=False
    )


def through_shell(terminal, redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A call whose streams a shell has changed."""
    return subprocess.run(
        ["sh", "-c", f'exec "$0" -m studio_cas.cli.main "$@" {redirection}', sys.executable, *arguments],
        env={**terminal.environment, "PYTHONUNBUFFERED": ""},
        cwd=terminal.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_an_interrupt_while_modules_are_loaded_shows_no_traceback(terminal):
    finished = run_after(terminal, INTERRUPT_AT_IMPORT, "--help")
    assert (finished.returncode, finished.stderr) == (130, "")


def test_an_interrupt_after_the_work_is_done_changes_nothing(terminal):
    finished = run_after(terminal, INTERRUPT_AT_EXIT, "--version")
    assert (finished.returncode, finished.stderr) == (0, "")


@pytest.mark.parametrize("call", CALLS)
def test_closed_streams_are_no_fault(terminal, weights, call):
    terminal.ok("push", weights, "exp/w")
    assert through_shell(terminal, ">&- 2>&- <&-", *call).returncode == 0
    assert through_shell(terminal, ">&-", *call).stderr == ""


def test_an_error_has_its_code_though_nobody_can_be_told(terminal):
    for redirection in ("2>&-", "2>/dev/full", ">&- 2>&- <&-"):
        assert through_shell(terminal, redirection, "push", "nowhere", "exp/w").returncode == 4


def test_a_pull_without_streams_is_whole(terminal, weights):
    """Were descriptor 1 or 2 free, a file that is pulled could get it, and what is printed."""
    terminal.ok("push", weights, "exp/w")
    assert through_shell(terminal, ">&- 2>&- <&-", "pull", "exp/w", "there").returncode == 0
    assert (terminal.folder / "there" / "notes.txt").read_bytes() == (weights / "notes.txt").read_bytes()
    terminal.ok("push", terminal.folder / "there", "exp/w")
    assert terminal.ok("log", "exp/w", "--json").json[0]["version"] == 1


def test_output_of_a_run_without_streams_is_kept(terminal):
    (terminal.folder / "script.py").write_text("import sys; print('out'); print('err', file=sys.stderr)")
    assert through_shell(terminal, ">&- 2>&- <&-", "run", "-e", "exp", "--no-workspace", "script.py").returncode == 0
    assert sorted(terminal.ok("cat", "exp/output").out.split()) == ["err", "out"]


@pytest.mark.parametrize("call", CALLS)
def test_a_full_disk_below_stdout_is_told_once(terminal, weights, call):
    terminal.ok("push", weights, "exp/w")
    finished = through_shell(terminal, "> /dev/full", *call)
    assert finished.returncode == 7
    assert finished.stderr == "studio: standard output: No space left on device; free some space and call again\n"
