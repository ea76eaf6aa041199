"""The table of commands: names and short helps are known beforehand, a module is imported when its command is called.

A command's module has a typer app named `app`, with one command, or with several where it is a group. The shared
options (--config, --store, --home, --verbose, --stats) may stand before the command's name or after it. A command that
reads its words itself has the class RawCommand: it finds them in `ctx.args`, and the options before its name in
`ctx.obj`.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from studio_cas.cli.session import shared_options

if TYPE_CHECKING:
    from typer import _click as click

COMMANDS = {
    "run": "Run a script, and capture what it reads and writes.",
    "rerun": "Repeat a run from its record.",
    "runs": "List runs, show one, stop it, or remove it.",
    "logs": "Print what a run has printed, and follow it.",
    "sync": "Keep artifacts up to date while folders change.",
    "push": "Capture a folder or a file as a new version, now.",
    "pull": "Fetch an artifact, or a part of it.",
    "export": "Write an artifact into a tar or zip archive.",
    "import": "Import from StudioML, DVC, archives and folders.",
    "copy": "Copy artifacts and experiments to another store.",
    "ls": "List experiments, artifacts, or the files in one.",
    "log": "List the versions of an artifact, the newest first.",
    "trust": "Sign versions, and say whose signatures are trusted.",
    "diff": "Show what changed between two versions.",
    "cat": "Write one file of an artifact to standard output.",
    "info": "Show all that is known of one version.",
    "du": "Show how many bytes each artifact takes, and shares.",
    "rm": "Remove versions, or artifacts with all of them.",
    "gc": "Delete the data that no version needs any more.",
    "cache": "Show or clean the artifacts kept on this machine.",
    "config": "Show the configuration in force, and its origins.",
    "doctor": "Check that everything is in order, and say what to do.",
}


def new_app(**settings: Any) -> typer.Typer:
    """A typer app as all of ours are: plain help, no completion options, exceptions left to the boundary."""
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        **settings,
    )


def load(name: str) -> click.Command:
    """Import the module of command `name`, and build the command with the shared options."""
    module = f"{name}_" if iskeyword(name) else name
    app: typer.Typer = import_module(f"studio_cas.cli.{module}").app
    command = typer.main.get_command(app)
    leaves = [command, *command.commands.values()] if isinstance(command, TyperGroup) else [command]
    for leaf in leaves:
        if not isinstance(leaf, RawCommand):
            leaf.params.extend(shared_options())
    return command


class RawCommand(TyperCommand):
    """A command whose words are not parsed: `--` and `--help` are among them, in `ctx.args`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave `args` as they are."""
        ctx.args = list(args)
        return []


class LazyCommands(TyperGroup):
    """A group that knows its commands by name, and imports one only when it is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.params.extend(shared_options())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """The command of that name, its module imported now."""
        if cmd_name not in COMMANDS:
            close = get_close_matches(cmd_name, COMMANDS, n=1)
            ctx.fail(f"there is no command {cmd_name!r}" + (f": did you mean {close[0]!r}?" if close else ""))
        return load(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # inherited
        """Write the table of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
