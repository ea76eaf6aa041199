"""`studio pull`: fetch an artifact, or a part of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.naming import Links, local_path
from studio_cas.cli.progress_bar import progress_bar
from studio_cas.cli.records import change_line, change_record
from studio_cas.cli.rendering import counted, print_json, printable, shown, size
from studio_cas.cli.session import session_of

if TYPE_CHECKING:
    from studio_cas.formats.spec import Spec
    from studio_cas.formats.version import Version
    from studio_cas.store.store import Store
    from studio_cas.worktree.materialise import MaterialiseResult


app = new_app()


@app.command(epilog="Example: studio pull my_run/weights@3 ~/weights-3 --include '*.pt'")
def pull(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="EXP/TAG[@VERSION][/PATH]", help="What to fetch.")],
    dest: Annotated[
        str | None, typer.Argument(metavar="[DEST]", help="Where to put it; else ./TAG, or the last part of PATH.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also where DEST has other content: it is replaced.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would change, and change nothing.")] = False,
    include: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Only what matches (gitignore syntax); repeatable.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Not what matches (gitignore syntax); repeatable.")
    ] = None,
    links: Annotated[Links, typer.Option(help="Symbolic links that lead outside DEST.")] = Links.refuse,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fetch an artifact, or a part of it.

    Pulling over an earlier pull updates it, deletions included, and transfers only what differs. Every byte is
    verified before it reaches a file.
    """
    from studio_cas.formats.spec import parse_spec
    from studio_cas.store.verifying import resolve_vouched
    from studio_cas.worktree.materialise import materialise

    spec = parse_spec(name)
    target = local_path(dest, "DEST") if dest is not None else _default_destination(spec)
    with session_of(ctx).open_store() as store:
        version = resolve_vouched(store, spec)
        if dest is not None and dest.endswith("/") and not target.exists():
            target = _inside(store, version, spec, target)
        result = materialise(
            store,
            version,
            target,
            path=spec.path,
            force=force,
            dry_run=dry_run,
            include=tuple(include or ()),
            exclude=tuple(exclude or ()),
            links=links.value,
            progress=progress_bar(),
        )
    for link in result.skipped_links:
        print(f"studio: {printable(link)}: leads outside, and was left out", file=sys.stderr)
    _show(version, result, dry_run=dry_run, as_json=as_json)


def _default_destination(spec: Spec) -> Path:
    return Path(os.fsdecode(spec.path.rsplit(b"/", 1)[-1]) or spec.tag)


def _inside(store: Store, version: Version, spec: Spec, folder: Path) -> Path:
    """Where a pull to the missing `folder` goes: a single file goes into it, with the name that it has."""
    from studio_cas.worktree.listing import entries

    first = next(entries(store, version, spec.path), None)
    single = first is not None and first.kind != "folder" and (version.is_file or first.path == spec.path)
    return folder / os.fsdecode(first.path.rsplit(b"/", 1)[-1]) if first is not None and single else folder


def _show(version: Version, result: MaterialiseResult, *, dry_run: bool, as_json: bool) -> None:
    name = f"{version.experiment}/{version.tag}@{version.number}"
    if as_json:
        print_json(
            {
                "experiment": version.experiment,
                "tag": version.tag,
                "version": version.number,
                "manifest": str(version.manifest_id),
                "path": str(result.path),
                "dry_run": dry_run,
                "files_written": result.files_written,
                "files_deleted": result.files_deleted,
                "bytes_written": result.bytes_written,
                "bytes_fetched": result.bytes_fetched,
                "skipped_links": list(result.skipped_links),
                "changes": [change_record(change) for change in result.changes],
            }
        )
    elif dry_run:
        for change in result.changes:
            print(change_line(change))
        print(f"{name} -> {shown(str(result.path))}: {counted(len(result.changes), 'change')}, nothing done")
    else:
        written, deleted = counted(result.files_written, "file"), counted(result.files_deleted, "file")
        print(f"{name} -> {shown(str(result.path))}: {written} written, {deleted} deleted")
        print(f"wrote {size(result.bytes_written)}, fetched {size(result.bytes_fetched)}")
