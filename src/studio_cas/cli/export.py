"""`studio export`: an artifact, or a part of it, as an archive."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.naming import local_path
from studio_cas.cli.progress_bar import progress_bar
from studio_cas.cli.rendering import counted, print_json, shown, size
from studio_cas.cli.session import session_of
from studio_cas.errors import UsageError

if TYPE_CHECKING:
    from studio_cas.formats.spec import Spec
    from studio_cas.formats.version import Version
    from studio_cas.moving.archives import Kind
    from studio_cas.moving.export import Exported

app = new_app()


@app.command(epilog="Example: studio export my_run/weights@3 weights.tar.gz")
def export(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="EXP/TAG[@VERSION][/PATH]", help="What to export.")],
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="The archive, or - for standard output; else ./TAG.tar.")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="tar, tar.gz, tar.zst or zip; else as FILE is called."),
    ] = None,
    mtime: Annotated[
        str | None, typer.Option(metavar="TIME", help="Give every entry this time: seconds since 1970, or a date.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also where FILE is there: it is replaced.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write an artifact, or a part of it, into an archive: tar, tar.gz, tar.zst or zip.

    It is streamed from the store, verified on the way, and the same bytes whenever and wherever it is made.
    """
    from studio_cas.formats.spec import parse_spec
    from studio_cas.moving.export import export as export_version
    from studio_cas.moving.export import export_to_file, writer
    from studio_cas.store.verifying import resolve_vouched

    spec = parse_spec(name)
    kind = _kind(form, file)
    moment = None if mtime is None else _moment(mtime)
    if file == "-" and as_json:
        raise UsageError("--json and the archive would both go to standard output: name a file")
    if file == "-" and sys.stdout.isatty():
        raise UsageError("an archive is nothing for a terminal: write it to a file, or into a pipe")
    with session_of(ctx).open_store() as store:
        version = resolve_vouched(store, spec)
        bar = progress_bar()
        if file == "-":
            stdout = sys.stdout.buffer
            export_version(store, version, writer(stdout), kind, path=spec.path, mtime=moment, progress=bar)
            stdout.flush()
            return
        target = local_path(file, "FILE") if file is not None else Path(f"{_last_name(spec)}.{kind}")
        made = export_to_file(
            target,
            lambda write: export_version(store, version, write, kind, path=spec.path, mtime=moment, progress=bar),
            force=force,
        )
    _show(version, spec, target, made, as_json=as_json)


def _last_name(spec: Spec) -> str:
    return os.fsdecode(spec.path.rpartition(b"/")[2]) or spec.tag


def _kind(form: str | None, file: str | None) -> Kind:
    from studio_cas.moving.archives import Kind, kind_of

    if form is not None:
        try:
            return Kind(form.removeprefix("."))
        except ValueError as error:
            raise UsageError(f"--format: {form!r} is not one of {', '.join(Kind)}") from error
    if file == "-":
        raise UsageError("standard output has no name that says which archive it is to be: add --format")
    return Kind.tar if file is None else kind_of(file)


def _moment(text: str) -> int:
    """Seconds since the epoch; a date without a zone is UTC, so that it means the same everywhere."""
    try:
        if text.lstrip("-").isdecimal():
            return int(text)
        found = datetime.fromisoformat(text)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--mtime: {text!r} is no time: write seconds since 1970, or a date like 2026-11-22"
        ) from error


def _show(version: Version, spec: Spec, target: Path, made: Exported, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "experiment": version.experiment,
                "tag": version.tag,
                "version": version.number,
                "manifest": str(version.manifest_id),
                "path": str(target),
                "entries": made.entries,
                "files": made.files,
                "size": made.size,
                "written": made.written,
            }
        )
        return
    part = f"/{shown(spec.path)}" if spec.path else ""
    amount = f"{counted(made.files, 'file')}, {size(made.size)}, in {size(made.written)}"
    print(f"{version.name}{part} -> {shown(str(target))}: {amount}")
