"""`studio cat`: one file of an artifact, to standard output."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.session import session_of
from studio_cas.errors import UsageError

app = new_app()


@app.command(epilog="Example: studio cat my_run/output@-1/output.txt | tail")
def cat(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="EXP/TAG[@VERSION][/PATH]", help="The file.")],
) -> None:
    """Write one file of an artifact to standard output, as it is. PATH may be left out where the artifact is a file."""
    from studio_cas.formats.spec import parse_spec
    from studio_cas.store.verifying import resolve_vouched
    from studio_cas.worktree.listing import read_file

    spec = parse_spec(name)
    with session_of(ctx).open_store() as store:
        version = resolve_vouched(store, spec)
        if not spec.path and not version.is_file:
            raise UsageError(f"{name} is a folder: name a file in it, as studio ls {name} shows them")
        for piece in read_file(store, version, spec.path):
            _write(piece)
        sys.stdout.buffer.flush()


def _write(piece: bytes) -> None:
    try:
        sys.stdout.buffer.write(piece)
    except OSError as error:
        error.filename = "standard output"
        raise
