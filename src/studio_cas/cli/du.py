"""`studio du`: how many bytes experiments and artifacts take."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.rendering import print_json, print_table, size
from studio_cas.cli.session import session_of

if TYPE_CHECKING:
    from studio_cas.store.usage import StoreUsage, Usage

app = new_app()


@app.command(epilog="Example: studio du my_run")
def du(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[EXP]", help="One experiment; else all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show how many bytes each artifact takes, and shares.

    LOGICAL counts every version in full, LATEST the newest, STORED the packs that the versions use, and SHARED those of
    them that other artifacts (or, for an experiment, other experiments) use as well.
    """
    from studio_cas.cli.naming import find_tags
    from studio_cas.formats.keys import check_name
    from studio_cas.store.usage import du as usage_of

    experiment = check_name(name, "an experiment") if name is not None else None
    with session_of(ctx).open_store() as store:
        if experiment is not None:
            find_tags(store, experiment)  # an unknown one is an error
        usage = usage_of(store, experiment)
    if as_json:
        print_json(dataclasses.asdict(usage))
    else:
        _print(usage)


def _print(usage: StoreUsage) -> None:
    rows = []
    for total in usage.experiments:
        rows.append(_row(total.experiment, total))
        own = [each for each in usage.artifacts if each.experiment == total.experiment]
        rows += [_row(f"  {each.experiment}/{each.tag}", each) for each in own]
    print_table(("ARTIFACT", "VERSIONS", "LOGICAL", "LATEST", "STORED", "SHARED"), rows, right=(1, 2, 3, 4, 5))
    print(f"the store takes {size(usage.stored)}, of which {size(usage.unused)} are in no version")


def _row(name: str, usage: Usage) -> tuple[str, ...]:
    return (name, str(usage.versions), *map(size, (usage.logical, usage.latest, usage.stored, usage.shared)))
