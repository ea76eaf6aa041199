"""`studio diff`: what changed between two versions, or between a version and a folder."""

from __future__ import annotations

from typing import Annotated

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.records import change_line, change_record
from studio_cas.cli.rendering import print_json_list
from studio_cas.cli.session import session_of

app = new_app()


@app.command(epilog="Example: studio diff my_run/weights@1 my_run/weights")
def diff(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", help="EXP/TAG[@VERSION].")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="EXP/TAG[@VERSION].")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Show what changed between two versions: + added, - removed, ~ changed."""
    from studio_cas.formats.spec import parse_spec
    from studio_cas.store.versions import resolve_spec
    from studio_cas.worktree.diff import diff as compare

    before, after = parse_spec(old), parse_spec(new)
    with session_of(ctx).open_store() as store:
        changes = compare(store, resolve_spec(store, before), resolve_spec(store, after))
        if as_json:
            print_json_list(map(change_record, changes))
            return
        for change in changes:
            print(change_line(change))
