"""`studio du`: how many bytes experiments and artifacts take."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.rendering import counted, dollars, print_json, print_table, size
from studio_cas.cli.session import session_of

if TYPE_CHECKING:
    from studio_cas.store.cost import Cost
    from studio_cas.store.usage import StoreUsage, Usage

app = new_app()


@app.command(epilog="Example: studio du my_run")
def du(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[EXP]", help="One experiment; else all.")] = None,
    cost: Annotated[bool, typer.Option("--cost", help="Estimate what the store costs in a month.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show how many bytes each artifact takes, and shares.

    LOGICAL counts every version in full, LATEST the newest, STORED the packs that the versions use, and SHARED those of
    them that other artifacts (or, for an experiment, other experiments) use as well.
    """
    from studio_cas.cli.naming import find_tags
    from studio_cas.formats.keys import check_name
    from studio_cas.store.cost import estimate
    from studio_cas.store.usage import du as usage_of

    experiment = check_name(name, "an experiment") if name is not None else None
    with session_of(ctx).open_store() as store:
        if experiment is not None:
            find_tags(store, experiment)  # an unknown one is an error
        usage = usage_of(store, experiment)
        estimated = estimate(store, time.time()) if cost else None
    if as_json:
        print_json(dataclasses.asdict(usage) | ({"cost": _record(estimated)} if cost else {}))
        return
    _print(usage)
    if cost:
        _print_cost(estimated, unpriced="Azure" if store.url.startswith("az://") else "")


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


def _record(cost: Cost | None) -> dict[str, Any] | None:
    if cost is None:
        return None
    return {
        "total": cost.total,
        "storage": cost.storage,
        "requests": cost.requests,
        "stored": cost.stored,
        "objects": cost.objects,
        "versions": cost.versions,
        "class_a": cost.class_a,
        "class_b": cost.class_b,
        "prices": dataclasses.asdict(cost.prices),
    }


def _print_cost(cost: Cost | None, unpriced: str) -> None:
    if cost is None and unpriced:
        print(f"what it costs is not estimated: no list prices of {unpriced} are known here")
        return
    if cost is None:
        print("it is on this machine: nobody sends a bill for it")
        return
    prices = cost.prices
    print(f"a month costs {dollars(cost.total)}, at list prices of {prices.service} ({prices.as_of}):")
    print(f"  {dollars(cost.storage)} for {size(cost.stored)} in {counted(cost.objects, 'object')}")
    print(
        f"  {dollars(cost.requests)} for requests as in the last 30 days, with {counted(cost.versions, 'version')}: "
        f"{cost.class_a:,} of class A, {cost.class_b:,} of class B"
    )
    print(f"  what is read and leaves the cloud comes on top, {dollars(prices.egress)} a GiB")
