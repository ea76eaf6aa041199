"""`studio import`: data of the original StudioML, of DVC, and archives and folders, as experiments and artifacts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.naming import Links, local_path, parse_scope
from studio_cas.cli.progress_bar import progress_bar
from studio_cas.cli.rendering import counted, print_json, printable, size, timestamp
from studio_cas.cli.session import open_store, session_of
from studio_cas.errors import IncompleteError, UsageError

if TYPE_CHECKING:
    from studio_cas.config import Config
    from studio_cas.moving.importing import Import, Imported
    from studio_cas.moving.opening import ImportSource, Naming
    from studio_cas.store.store import Store


app = new_app()


@app.command(name="import", epilog="Example: studio import gs://old-bucket --dry-run")
def import_(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A folder, an archive, or a bucket.")],
    name: Annotated[
        str | None, typer.Argument(metavar="[EXP[/TAG]]", help="What it is to be called, where SOURCE does not say.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(metavar="LAYOUT", help="studioml, dvc or plain; else as SOURCE looks.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="(studioml) Only experiments that match, as 'lr_*'.")
    ] = None,
    records: Annotated[
        str | None, typer.Option(metavar="PLACE", help="(studioml) Where the records are: a bucket, folder, JSON file.")
    ] = None,
    remote: Annotated[str | None, typer.Option(metavar="PLACE", help="(dvc) The remote; else the default one.")] = None,
    max_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="What may come out of an archive, at most.")
    ] = None,
    links: Annotated[Links, typer.Option(help="Links in archives that lead outside.")] = Links.refuse,
    join: Annotated[bool, typer.Option("--join", help="Also where another user owns the experiment.")] = False,
    credentials: Annotated[
        str | None, typer.Option(metavar="FILE", help="Credentials for SOURCE; else as for the store.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be imported, and import nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Import from a bucket of the original StudioML, from DVC, or from archives and folders.

    What was imported is not read again: an import that was interrupted goes on from there. Ends with 8 where something
    could not be imported, which is named.
    """
    from studio_cas.config.sizes import parse_size
    from studio_cas.moving.import_journal import open_journal
    from studio_cas.moving.importing import Import
    from studio_cas.moving.opening import ImportSource, Layout, Naming
    from studio_cas.moving.unpack_tree import Rules

    if layout is not None and layout not in list(Layout):
        raise UsageError(f"--layout: {layout!r} is not one of {', '.join(Layout)}")
    experiment, tag = _parse_name(name)
    rules = Rules(parse_size(max_size, "--max-size") if max_size is not None else None, links.value)
    key_file = local_path(credentials, "--credentials") if credentials is not None else None
    config = session_of(ctx).configuration()
    done: list[Imported] = []

    def tell(one: Imported) -> None:
        done.append(one)
        _say(one, quiet=as_json)

    with (
        ImportSource(source, config, key_file, Layout(layout) if layout else None) as opened,
        _open_store(config, dry_run=dry_run) as store,
        open_journal(store, opened.origin.url) as journal,
    ):
        work = Import(
            store,
            journal,
            config.user,
            progress_bar,
            tell,
            rules=rules,
            join=join,
            dry_run=dry_run,
            compression=config.compression,
        )
        _run(work, opened, Naming(experiment, tag, only), records, remote)
    return _end(done, work, opened, as_json=as_json)


def _parse_name(name: str | None) -> tuple[str | None, str | None]:
    if name is None:
        return None, None
    experiment, spec = parse_scope(name)
    if spec is not None and (spec.version is not None or spec.path):
        raise UsageError(f"{name!r} names a version or a path: write EXP or EXP/TAG, and the next version is made")
    return experiment, spec.tag if spec is not None else None


def _open_store(config: Config, *, dry_run: bool) -> Store:
    """The store; a dry run makes none, and where there is none, nothing was imported."""
    if not dry_run:
        return open_store(config, create=True)
    from studio_cas.backends.memory import MemoryBackend
    from studio_cas.config import open_configured_store
    from studio_cas.errors import NotFoundError
    from studio_cas.store.store import open_store as open_anywhere

    try:
        return open_configured_store(config, create=False)
    except NotFoundError:
        return open_anywhere(MemoryBackend(), home=config.home)


def _run(work: Import, opened: ImportSource, naming: Naming, records: str | None, remote: str | None) -> None:
    from studio_cas.moving.layout_studioml import unused_blobs
    from studio_cas.moving.opening import Layout

    if opened.layout is not Layout.studioml:
        if naming.only is not None or records is not None:
            raise UsageError(f"--only and --records are for studioml, and {opened.origin.url} is {opened.layout}")
        work.items(opened.items(naming, remote))
        return
    used: set[str] = set()
    for experiment in opened.experiments(naming, records):
        used |= experiment.blobs
        work.experiment(experiment)
    if naming.only is None:
        work.items(unused_blobs(opened.origin, used))


def _say(one: Imported, *, quiet: bool) -> None:
    item = one.item
    if one.state in {"failed", "skipped"}:
        print(f"studio: {printable(item.name)}: {printable(one.reason)}", file=sys.stderr)
        return
    for path in one.left_out:
        print(f"studio: {printable(item.name)}: {printable(path)}", file=sys.stderr)
    if quiet or one.state == "there":
        return
    number = f"@{one.number}" if one.number else ""
    print(f"{printable(item.name)} -> {item.experiment}/{item.tag}{number}: {size(one.size)}")


def _record(one: Imported) -> dict[str, Any]:
    item = one.item
    return {
        "name": item.name,
        "experiment": item.experiment or None,
        "tag": item.tag or None,
        "state": one.state,
        "version": one.number or None,
        "size": one.size,
        "time": timestamp(item.time) if item.time is not None else None,
        "reason": one.reason or None,
        "left_out": list(one.left_out),
    }


def _end(done: list[Imported], work: Import, opened: ImportSource, *, as_json: bool) -> int:
    states: list[str] = [one.state for one in done]
    if as_json:
        counts = {state: states.count(state) for state in ("imported", "there", "found", "skipped", "failed")}
        items = [_record(one) for one in done]
        print_json(
            {"source": opened.origin.url, "layout": opened.layout, "records": work.records, **counts, "items": items}
        )
    else:
        what = "found" if work.dry_run else "imported"
        amount = f"{counted(states.count(what), 'artifact')} {what}, {states.count('there')} there already"
        left = f"{states.count('skipped')} skipped, {states.count('failed')} failed"
        print(f"{amount}, {left}; {counted(work.records, 'record')} of runs")
    incomplete = "failed" in states or any(one.left_out for one in done)
    return IncompleteError.exit_code if incomplete else 0
