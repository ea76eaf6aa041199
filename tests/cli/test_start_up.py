"""What a call costs before it does anything: the modules that it loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from studio_cas.cli.commands import COMMANDS

HEAVY = frozenset((
    "aiohttp", "fsspec", "gcsfs", "google.auth", "hypothesis", "numpy", "pathspec", "pydantic", "pyfastcdc", "requests",
    "rich", "watchdog", "yaml", "zstandard",
))  # fmt: skip


def loaded_by(terminal, *arguments: str) -> set[str]:
    program = (
        "import sys, atexit\n"
        "from studio_cas.cli.main import main\n"
        f"sys.argv = ['studio', *{list(arguments)!r}]\n"
        "atexit.register(lambda: print('\\n'.join(sys.modules), file=sys.stderr))\n"
        "main()\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program],
        env=terminal.environment,
        cwd=terminal.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(finished.stderr.splitlines())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["push", "--help"], ["run", "--help"]])
def test_help_loads_nothing_heavy(terminal, arguments):
    assert sorted(loaded_by(terminal, *arguments) & HEAVY) == []


def test_help_loads_no_command(terminal):
    loaded = loaded_by(terminal, "--help")
    assert not {f"studio_cas.cli.{name}" for name in COMMANDS} & loaded


@pytest.mark.own_store
def test_an_unchanged_push_loads_nothing_heavy(terminal, weights):
    terminal.ok("push", weights, "exp/weights")
    loaded = loaded_by(terminal, "push", str(weights), "exp/weights")
    assert sorted(loaded & HEAVY) in ([], ["zstandard"])  # the root in a version record may be compressed


def test_help_shows_every_command(terminal):
    text = terminal.ok("--help").out
    for name, help_text in COMMANDS.items():
        assert f"  {name}" in text
        assert help_text in text


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_an_example_in_its_help(terminal, name):
    text = terminal.ok(name, "--help").out
    assert f"Example: studio {name}" in text
    assert COMMANDS[name].rstrip(".").split(",")[0].split()[0] in text


def test_no_arguments_show_the_help(terminal):
    assert terminal.ok().out == terminal.ok("--help").out


def test_the_version_is_printed(terminal):
    from importlib.metadata import version

    assert terminal.ok("--version").out == f"studio {version('studio-cas')}\n"
