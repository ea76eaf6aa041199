"""`studio config`: the configuration in force, and where each value comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.rendering import print_json, print_table, printable
from studio_cas.cli.session import session_of
from studio_cas.errors import UsageError

if TYPE_CHECKING:
    from studio_cas.config import Config, Setting

app = new_app(
    help="Show the configuration in force, and where each value comes from.",
    epilog="Example: studio config show --origin",
)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.callback(invoke_without_command=True)
def config(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show the configuration in force, and where each value comes from: option, environment, file, or default."""
    if ctx.invoked_subcommand is not None:
        if as_json:
            raise UsageError(f"--json belongs after {ctx.invoked_subcommand}: studio config show --json")
    else:
        _show(session_of(ctx).configuration(), origin=True, as_json=as_json)


@app.command(epilog="Example: studio config show --origin --store gs://my-bucket/studio")
def show(
    ctx: typer.Context,
    origin: Annotated[bool, typer.Option("--origin", help="Name the file, the variable or the option too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the configuration in force."""
    _show(session_of(ctx).configuration(), origin=origin, as_json=as_json)


def _show(found: Config, *, origin: bool, as_json: bool) -> None:
    if as_json:
        values = {row.key: {"value": row.value, "origin": row.origin, "source": row.source} for row in found.settings()}
        print_json({"file": str(found.file) if found.file else None, "settings": values, "unused": list(found.unused)})
        return
    print(f"configuration file: {printable(str(found.file)) if found.file else 'none'}")
    rows = [(row.key, printable(row.value), *([_origin(row)] if origin else [])) for row in found.settings()]
    print_table(("KEY", "VALUE", *(["FROM"] if origin else [])), rows)
    if found.unused:
        print(f"read and not used: {printable(', '.join(found.unused))}")


def _origin(row: Setting) -> str:
    return f"{row.origin} {printable(row.source)}" if row.source else row.origin
