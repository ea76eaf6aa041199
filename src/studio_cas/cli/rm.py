"""`studio rm`: remove versions, or an artifact with all of them."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.naming import whole_artifact
from studio_cas.cli.rendering import counted, print_json
from studio_cas.cli.session import open_store, session_of
from studio_cas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from studio_cas.experiment.removing import Removal

app = new_app()


@app.command(epilog="Example: studio rm linear_regression/weights@3")
def rm(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="EXP/TAG[@VERSION]...", help="Versions, or whole artifacts.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also what a run reuses, or belongs to another user.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Remove versions, or an artifact with all of its versions. It cannot be undone.

    The data that no version needs any more stay in the store until studio gc deletes them; copies on any machine stay
    too. A number is not used again while an older version is there. It takes a credential that may delete.
    """
    from studio_cas.experiment.removing import plan_removal, remove

    config = session_of(ctx).configuration()
    specs = [whole_artifact(name, "studio rm") for name in names]
    with open_store(config) as store:
        removals = [plan_removal(store, spec, config.user, force=force) for spec in specs]
        if not dry_run:
            _ask(removals, yes=yes)
            for removal in removals:
                remove(store, removal, config.user, time.time())
    if as_json:
        print_json({"removed": not dry_run, "artifacts": [_record(removal) for removal in removals]})
        return
    for removal in removals:
        print(f"{'would remove' if dry_run else 'removed'} {_told(removal)}")
    if not dry_run:
        print("data that no version needs any more stay in the store until studio gc deletes them")


def _ask(removals: Sequence[Removal], *, yes: bool) -> None:
    """Raises UsageError, unless the person agrees."""
    told = "; ".join(map(_told, removals))
    if yes:
        return
    if sys.stdin.isatty() and sys.stderr.isatty():
        if typer.confirm(f"remove {told}? It cannot be undone", err=True):
            return
        raise UsageError("nothing was removed")
    raise UsageError(f"nothing was removed: --yes removes {told}, and that cannot be undone")


def _told(removal: Removal) -> str:
    many = f", {counted(len(removal.keys), 'version')}" if "@" not in removal.name else ""
    return f"{removal.name}{many}"


def _record(removal: Removal) -> dict[str, object]:
    return {
        "experiment": removal.experiment,
        "tag": removal.tag,
        "versions": list(removal.numbers),
        "reused_by": list(removal.reused_by),
    }
