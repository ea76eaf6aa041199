"""`studio cache`: the artifacts of other experiments that are kept on this machine, ready to be read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.rendering import age, counted, print_json, print_table, printable, size, timestamp
from studio_cas.cli.session import session_of

if TYPE_CHECKING:
    from studio_cas.worktree.blobcache import CachedArtifact

app = new_app(
    help="Show or clean the artifacts kept on this machine.",
    epilog="Example: studio cache clean --older-than 30d --dry-run",
)


@app.command("ls", epilog="Example: studio cache ls")
def list_cache(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """List the artifacts kept on this machine, the most recently used first."""
    from studio_cas.worktree.blobcache import list_cached

    _show(list_cached(session_of(ctx).configuration().home), as_json=as_json)


@app.command(epilog="Example: studio cache clean --max-size 50GiB --older-than 30d")
def clean(
    ctx: typer.Context,
    max_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Keep the most recently used up to SIZE, as 500MiB or 50GiB.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Remove what was not used for so long, as 12h or 30d.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be removed, and remove nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what is removed as one JSON array.")] = False,
) -> None:
    """Remove artifacts kept on this machine: all, or what the options say. The store keeps them.

    What a running script reads must not be removed.
    """
    from studio_cas.config.durations import parse_duration
    from studio_cas.config.sizes import parse_size
    from studio_cas.worktree import blobcache

    size_limit = parse_size(max_size, "--max-size") if max_size is not None else None
    age_limit = parse_duration(older_than, "--older-than") if older_than is not None else None
    home = session_of(ctx).configuration().home
    removed = blobcache.clean(home, max_size=size_limit, older_than=age_limit, dry_run=dry_run)
    _show(removed, as_json=as_json)
    if not as_json:
        total = size(sum(cached.size for cached in removed))
        print(f"{'would remove' if dry_run else 'removed'} {counted(len(removed), 'artifact')}, {total}")


def _show(found: list[CachedArtifact], *, as_json: bool) -> None:
    if as_json:
        print_json([_record(cached) for cached in found])
    elif found:
        now = time.time()
        rows = [
            (
                cached.manifest_id[:12],
                f"{cached.files:,}",
                size(cached.size),
                age(now - cached.used),
                printable(str(cached.path)),
            )
            for cached in found
        ]
        print_table(("MANIFEST", "FILES", "SIZE", "USED", "FOLDER"), rows, right=(1, 2))


def _record(cached: CachedArtifact) -> dict[str, Any]:
    return {
        "manifest": cached.manifest_id,
        "path": str(cached.path),
        "files": cached.files,
        "size": cached.size,
        "used": timestamp(cached.used),
    }
