"""`studio push`: capture a folder or a file as a new version, now."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.naming import local_path
from studio_cas.cli.progress_bar import progress_bar
from studio_cas.cli.records import version_record
from studio_cas.cli.rendering import counted, print_json, printable, size
from studio_cas.cli.session import open_store, session_of
from studio_cas.errors import IncompleteError, NotFoundError, UsageError

if TYPE_CHECKING:
    from studio_cas.worktree.capture import CaptureResult

app = new_app()


@app.command(epilog="Example: studio push ~/weights my_run/weights")
def push(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="The folder or the file to capture.")],
    name: Annotated[str, typer.Argument(metavar="EXP/TAG", help="The artifact that gets the new version.")],
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Leave out what matches (gitignore syntax); repeatable.")
    ] = None,
    compression: Annotated[
        bool | None, typer.Option(help="Compress what is stored, or not; else as configured.", show_default=False)
    ] = None,
    join: Annotated[bool, typer.Option("--join", help="Also where another user owns the experiment.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Capture a folder or a file as a new version, now.

    What has not changed since the last version is neither read nor stored; where nothing has, no version is made.
    Ends with 8 where a path could not be read, or was being written all the time; the version then lacks it, or has
    its earlier content.
    """
    from studio_cas.experiment.records import claim
    from studio_cas.formats.experiment import Owner
    from studio_cas.formats.spec import parse_spec
    from studio_cas.store.signing import check_key
    from studio_cas.worktree.capture import capture

    spec = parse_spec(name)
    if spec.version is not None or spec.path:
        raise UsageError(f"{name!r} names a version or a path: push takes EXP/TAG, and makes the next version")
    root = local_path(path, "PATH")
    if not root.exists():
        raise NotFoundError(f"there is no folder or file {root}: check the path")
    config = session_of(ctx).configuration()
    with open_store(config, create=True) as store:
        check_key(store)
        claim(store.backend, Owner(spec.experiment, config.user, os.uname().nodename, time.time()), join=join)
        result = capture(
            store,
            root,
            spec.experiment,
            spec.tag,
            ignore=tuple(exclude or ()),
            progress=progress_bar(root),
            user=config.user,
            compression=config.compression if compression is None else compression,
        )
    _show(result, as_json=as_json)
    return _complain(result)


def _show(result: CaptureResult, *, as_json: bool) -> None:
    version = result.version
    name = f"{version.experiment}/{version.tag}"
    if as_json:
        print_json(_record(result))
    elif result.created:
        print(f"{name}@{version.number}: {counted(version.files, 'file')}, {size(version.size)}")
        print(f"read {size(result.bytes_read)}, stored {size(result.bytes_stored)}", end="")
        print(f" in {counted(result.new_chunks, 'new chunk')}")
    else:
        print(f"{name}: unchanged, still version {version.number}")


def _record(result: CaptureResult) -> dict[str, Any]:
    return {
        **version_record(result.version),
        "created": result.created,
        "bytes_read": result.bytes_read,
        "bytes_stored": result.bytes_stored,
        "new_chunks": result.new_chunks,
        "stale": list(result.stale),
        "skipped": list(result.skipped),
        "damaged": list(result.damaged),
    }


def _complain(result: CaptureResult) -> int:
    from studio_cas.worktree.steady import STILL_WRITTEN

    for sentence in result.damaged:
        print(f"studio: {sentence}: this version does without it, and earlier ones may need it", file=sys.stderr)
    for path in result.skipped:
        print(f"studio: {printable(path)}", file=sys.stderr)
    for path in result.stale:
        print(f"studio: {printable(path)} {STILL_WRITTEN}", file=sys.stderr)
    return IncompleteError.exit_code if result.skipped or result.stale else 0
