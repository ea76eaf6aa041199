"""`studio info`: all that is known of one version."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.naming import whole_artifact
from studio_cas.cli.records import version_record
from studio_cas.cli.rendering import age, print_json, printable, size, timestamp
from studio_cas.cli.session import session_of

if TYPE_CHECKING:
    from studio_cas.formats.version import Version
    from studio_cas.store.verifying import Finding

app = new_app()


@app.command(epilog="Example: studio info my_run/weights@3")
def info(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="EXP/TAG[@VERSION]", help="The version; else the latest.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show all that is known of one version: its identity, its sizes, who made it, what it lacks."""
    from studio_cas.store.verifying import judge_one
    from studio_cas.store.versions import resolve_spec

    spec = whole_artifact(name, "info")
    with session_of(ctx).open_store() as store:
        version = resolve_spec(store, spec)
        found = judge_one(store, version)
        if as_json:
            print_json(_record(version, store.url, found))
            return
        for label, value in _lines(version, store.url, found):
            print(f"{label + ':':<10}{printable(value)}")


def _record(version: Version, url: str, found: Finding | None) -> dict[str, Any]:
    signature = {"state": found.state, "signer": found.signer, "key": found.key} if found else None
    return {**version_record(version), "writer": version.writer, "store": url, "signature": signature}


def _lines(version: Version, url: str, found: Finding | None) -> list[tuple[str, str]]:
    kind = "one file" if version.is_file else f"{version.files:,} files"
    lines = [
        ("artifact", f"{version.experiment}/{version.tag}"),
        ("version", f"{version.number}{' (final)' if version.final else ''}"),
        ("parent", str(version.parent) if version.parent else "none"),
        ("manifest", str(version.manifest_id)),
        ("content", f"{kind}, {size(version.size)}"),
        ("stored", f"{size(version.stored)} by this capture"),
        ("captured", f"{timestamp(version.time)} ({age(time.time() - version.time)})"),
        ("by", f"{version.user} on {version.host}"),
        ("store", url),
    ]
    if found:
        lines.insert(-1, ("signed", f"by {found.signer}" if not found.problem else f"{found.state}: {found.problem}"))
    lines += [("left out", path) for path in version.skipped]
    return lines + [("stale", path) for path in version.stale]
