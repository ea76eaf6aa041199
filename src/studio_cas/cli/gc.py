"""`studio gc`: delete data that no version needs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.progress_bar import progress_bar
from studio_cas.cli.rendering import counted, print_json, size
from studio_cas.cli.session import session_of

if TYPE_CHECKING:
    from studio_cas.store.collecting import Collection
    from studio_cas.store.deleting import Amount

app = new_app()


@app.command(epilog="Example: studio gc --dry-run")
def gc(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")] = False,
    grace: Annotated[
        str, typer.Option("--grace", metavar="DURATION", help="Keep what is younger than this, as 12h or 0.")
    ] = "1d",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Delete the data that no version needs any more, and what crashes left in the store.

    It is safe beside running captures, whatever the grace: that only saves them from storing something twice. Versions
    are never removed by it, but by studio rm and studio runs rm. It takes a credential that may delete.
    """
    from studio_cas.config.durations import parse_duration
    from studio_cas.store.collecting import collect

    seconds = 0.0 if grace in {"0", "0s"} else parse_duration(grace, "--grace")
    with session_of(ctx).open_store() as store:
        found = collect(store, grace=seconds, dry_run=dry_run, progress=progress_bar())
    if as_json:
        print_json(_record(found))
    else:
        _print(found, grace)


def _record(found: Collection) -> dict[str, Any]:
    row = dataclasses.asdict(found)
    return {"deleted": {name: row[name] for name in ("data", "trees")} | row["leftovers"]} | {
        name: row[name] for name in ("young", "spared", "needed", "versions", "dry_run")
    }


def _print(found: Collection, grace: str) -> None:
    packs = found.data + found.trees
    rest = found.leftovers
    verb = "would free" if found.dry_run else "freed"
    print(
        f"{verb} {size(packs.bytes)}: {_told(found.data, 'data pack')}, {_told(found.trees, 'tree pack')}"
        if packs.objects
        else f"{verb} nothing: every pack that is old enough is needed"
    )
    small = [
        (rest.hooks, "run of hooks", "runs of hooks"),
        (rest.pins, "pin", "pins"),
        (rest.trials, "trial", "trials"),
    ]
    if parts := [
        f"{amount.objects:,} {one if amount.objects == 1 else many}" for amount, one, many in small if amount.objects
    ]:
        print(f"{'would remove' if found.dry_run else 'removed'} {', '.join(parts)}")
    if found.young.objects:
        print(f"kept {_told(found.young, 'pack')}, for being younger than {grace}")
    if found.spared.objects:
        print(f"kept {_told(found.spared, 'pack')}, that came to be needed meanwhile")
    print(f"{counted(found.versions, 'version')} and pins need {_told(found.needed, 'pack')}")


def _told(amount: Amount, noun: str) -> str:
    """3 packs (1.2 MiB)."""
    return f"{counted(amount.objects, noun)} ({size(amount.bytes)})"
