"""`studio log`: the versions of an artifact, or of all artifacts of an experiment, the newest first."""

from __future__ import annotations

import time
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.naming import find_tags, parse_scope
from studio_cas.cli.records import version_record
from studio_cas.cli.rendering import age, complain, print_json_list, print_table, printable, size
from studio_cas.cli.session import session_of
from studio_cas.cli.signatures import verify as verify_signatures
from studio_cas.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from studio_cas.errors import CorruptError
    from studio_cas.formats.spec import Spec
    from studio_cas.formats.version import Version
    from studio_cas.store.store import Store

app = new_app()


@app.command(epilog="Example: studio log my_run/weights --limit 5")
def log(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="EXP[/TAG]", help="An artifact, or a whole experiment.")],
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=0, help="At most N; 0 for all.")] = 0,
    verify: Annotated[
        bool, typer.Option("--verify", help="Verify signatures, and name what was forged, dropped or reordered.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> int:
    """List the versions of an artifact, or of all artifacts of an experiment, the newest first.

    Ends with 5 where a record is damaged, after all others were listed. With --verify it ends with 5 where something
    was tampered with, with 10 where a version is not signed by somebody who is trusted.
    """
    experiment, spec = parse_scope(name)
    if spec is not None and (spec.version is not None or spec.path):
        raise UsageError(f"{name!r} names a version or a path: log takes EXP/TAG, or EXP")
    with session_of(ctx).open_store() as store:
        if verify:
            return verify_signatures(store, experiment, spec, limit or None, as_json=as_json)
        damaged: list[CorruptError] = []
        versions = islice(_versions(store, experiment, spec, limit or None, damaged), limit or None)
        if as_json:
            print_json_list(map(version_record, versions))
        else:
            now = time.time()
            headings = ("VERSION", "CAPTURED", "FILES", "SIZE", "STORED", "MANIFEST", "BY", "NOTE")
            print_table(headings, [_row(version, now) for version in versions], right=(2, 3, 4))
    return complain(damaged)


def _versions(
    store: Store, experiment: str, spec: Spec | None, limit: int | None, damaged: list[CorruptError]
) -> Iterator[Version]:
    from studio_cas.store.versions import explain_missing, latest_number, list_versions

    if spec is not None and not latest_number(store, spec.experiment, spec.tag):
        raise NotFoundError(explain_missing(store, spec))
    tags = [spec.tag] if spec is not None else find_tags(store, experiment)
    histories = [list_versions(store, experiment, tag, limit, damaged.append) for tag in tags]
    return merge(*histories, key=lambda version: version.time, reverse=True)


def _row(version: Version, now: float) -> tuple[str, ...]:
    notes = ["final"] if version.final else []
    notes += [f"{len(version.stale)} stale"] if version.stale else []
    notes += [f"{len(version.skipped)} left out"] if version.skipped else []
    return (
        f"{version.experiment}/{version.tag}@{version.number}",
        age(now - version.time),
        f"{version.files:,}",
        size(version.size),
        size(version.stored),
        version.manifest_id.hex()[:12],
        printable(f"{version.user}@{version.host}"),
        ", ".join(notes),
    )
