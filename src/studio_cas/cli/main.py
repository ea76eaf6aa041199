"""Entry point of the console script: the options before the command, the command, and the exit code."""

from __future__ import annotations

import gc
import sys
from typing import Annotated

import typer

from studio_cas.cli.boundary import guard
from studio_cas.cli.commands import LazyCommands, new_app

GARBAGE_THRESHOLD = 100_000  # rows of files are many and hold no cycles: 700, the default, costs 5 to 8 % of a capture

app = new_app(
    cls=LazyCommands,
    invoke_without_command=True,
    epilog="Example: studio push ~/weights my_run/weights, then anywhere: studio pull my_run/weights",
)


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"studio {version('studio-cas')}")
        raise typer.Exit


@app.callback()
def studio(
    ctx: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version, and exit.")
    ] = False,
) -> None:
    """Keep the data that experiments read and write: captured once, named EXP/TAG, fetched anywhere."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def main() -> None:
    """Run the command line of this process, and exit."""
    gc.set_threshold(GARBAGE_THRESHOLD)
    sys.exit(guard(app, sys.argv[1:]))


if __name__ == "__main__":
    main()
