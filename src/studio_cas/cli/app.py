"""The command line: the options before the command, and the commands."""

from __future__ import annotations

from typing import Annotated

import typer

from studio_cas.cli.commands import LazyCommands, new_app

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
