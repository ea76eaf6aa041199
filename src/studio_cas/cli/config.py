"""`studio config`: the configuration in force, and where each value comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.rendering import print_json, print_table, printable
from studio_cas.cli.session import session_of

app = new_app()


@app.command(epilog="Example: studio config --store gs://my-bucket/studio")
def config(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the configuration in force, and where each value comes from: option, environment, file, or default."""
    found = session_of(ctx).configuration()
    if as_json:
        values = {setting.key: {"value": setting.value, "origin": setting.origin} for setting in found.settings()}
        print_json({"file": str(found.file) if found.file else None, "settings": values, "unused": list(found.unused)})
        return
    print(f"configuration file: {printable(str(found.file)) if found.file else 'none'}")
    rows = [(setting.key, printable(setting.value), setting.origin) for setting in found.settings()]
    print_table(("KEY", "VALUE", "FROM"), rows)
    if found.unused:
        print(f"read and not used: {printable(', '.join(found.unused))}")
