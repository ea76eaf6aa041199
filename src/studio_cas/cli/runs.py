"""`studio runs`: the runs that the store knows, what is recorded of one, stopping it, removing it."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.rendering import counted, print_json, print_json_list, print_table, printable
from studio_cas.cli.run_records import full_record, lines_of_run, row_of_run, run_record
from studio_cas.cli.session import open_store, session_of
from studio_cas.errors import UsageError

if TYPE_CHECKING:
    from studio_cas.experiment.erasure import Erasure
    from studio_cas.experiment.lifecycle import Attempt, Status
    from studio_cas.experiment.stopping import StopResult

app = new_app(
    help="List runs, show what is recorded of one, stop it, or remove it.",
    epilog="Example: studio runs list --status running --since 2d",
)
Name = Annotated[str, typer.Argument(metavar="EXP[@ATTEMPT]", help="The run; its latest attempt by default.")]
HEADINGS = ("RUN", "STATUS", "CREATED", "TOOK", "CODE", "BY", "COMMAND")


@app.command("list", epilog="Example: studio runs list --experiment 'lr_*' --user ann -n 20")
def list_all(
    ctx: typer.Context,
    status: Annotated[
        list[str] | None,
        typer.Option(metavar="STATUS", help="waiting, running, finished, failed, stopped or lost; repeatable."),
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="PATTERN", help="Who started them, as ann or 'a*'.")] = None,
    host: Annotated[str | None, typer.Option(metavar="PATTERN", help="The machine they run on.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Created since then: 2d, 12h, 2026-11-22, 2026-11-22T10:00.")
    ] = None,
    experiment: Annotated[
        str | None, typer.Option("--experiment", "-e", metavar="PATTERN", help="The experiment, as lr_1 or 'lr_*'.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=0, help="At most N; 0 for all.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """List runs, the newest first."""
    from itertools import islice

    from studio_cas.experiment.runs import Wanted, list_runs

    now = time.time()
    moment = _moment(since, now) if since is not None else None
    wanted = Wanted(experiment, user, host, moment, _statuses(status or []))
    with session_of(ctx).open_store() as store:
        found = islice(list_runs(store.backend, wanted, now, _warn), limit or None)
        if as_json:
            print_json_list(map(run_record, found))
        else:
            print_table(HEADINGS, [row_of_run(attempt, now) for attempt in found])


def _warn(sentence: str) -> None:
    print(f"studio: {printable(sentence)}", file=sys.stderr)


def _statuses(words: list[str]) -> frozenset[Status]:
    from studio_cas.config.spelling import did_you_mean
    from studio_cas.experiment.lifecycle import Status

    known = [status.value for status in Status]
    for word in words:
        if word not in known:
            hint = did_you_mean(word, known) or f": they are {', '.join(known)}"
            raise UsageError(f"--status {word!r} is no status{hint}")
    return frozenset(map(Status, words or known))


def _moment(text: str, now: float) -> float:
    """Seconds since the epoch: so long ago, or a time, which is local where it names no zone."""
    from datetime import datetime

    from studio_cas.config.durations import parse_duration
    from studio_cas.errors import ConfigError

    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        pass
    try:
        return now - parse_duration(text, "--since")
    except ConfigError:
        raise UsageError(f"--since {text!r} is no time: write 2d or 12h for so long ago, or 2026-11-22T10:00") from None


@app.command(epilog="Example: studio runs show linear_regression@2")
def show(
    ctx: typer.Context,
    name: Name,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show all that is recorded of one run: what was asked for, where it ran, what it took, what it left."""
    from studio_cas.experiment.records import stop_requested
    from studio_cas.experiment.runs import find_run, next_created
    from studio_cas.experiment.states import states

    now = time.time()
    with session_of(ctx).open_store() as store:
        attempt = find_run(store.backend, name, now)
        left = states(store, attempt, next_created(store.backend, attempt.created))
        stop = stop_requested(store.backend, attempt.created)
    if as_json:
        print_json(full_record(attempt, left, stop))
        return
    for label, value in lines_of_run(attempt, left, stop, now):
        print(f"{label + ':' if label else '':<12}{printable(value)}")


@app.command(epilog="Example: studio runs stop linear_regression")
def stop(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="EXP[@ATTEMPT]...", help="The runs to stop.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Ask runs to stop, wherever they go on: their scripts get what Ctrl-C would send, and the last captures are made.

    A run on this machine is interrupted at once; one elsewhere looks whether it shall stop before each of its captures.
    """
    from studio_cas.experiment.runs import find_run
    from studio_cas.experiment.stopping import stop_run

    config = session_of(ctx).configuration()
    with open_store(config) as store:
        attempts = [find_run(store.backend, name, time.time()) for name in names]
        stopped = [(attempt, stop_run(store.backend, attempt, config.user)) for attempt in attempts]
    if as_json:
        print_json([{**run_record(attempt), "interrupted": result.process} for attempt, result in stopped])
    else:
        for attempt, result in stopped:
            print(printable(_told(attempt, result)))


def _told(attempt: Attempt, result: StopResult) -> str:
    from studio_cas.config.durations import format_duration
    from studio_cas.experiment.lifecycle import Status
    from studio_cas.experiment.runs import run_name

    name = run_name(attempt.created)
    if result.process is not None:
        return f"{name}: interrupted, process {result.process} on this machine"
    if attempt.status is Status.LOST:
        return f"{name}: asked to stop, and lost: nothing was heard of it for a while, it stops if it is still there"
    host = attempt.started.host if attempt.started else attempt.created.host
    return f"{name}: asked to stop; {host} looks every {format_duration(attempt.created.period)}"


@app.command(epilog="Example: studio runs rm linear_regression@1 --yes")
def rm(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="EXP[@ATTEMPT]", help="A whole experiment, or one attempt of it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without, say what would be removed.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also what waits or runs, or belongs to another user.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Remove the records and the versions of an experiment, or of one attempt of it. It cannot be undone.

    Versions that another attempt has too are kept. The data that no version needs any more stay in the store until
    studio gc deletes them. It takes a credential that may delete.
    """
    from studio_cas.experiment.erasure import erase, plan_erasure
    from studio_cas.experiment.runs import parse_run
    from studio_cas.store.heads import forget_removed

    config = session_of(ctx).configuration()
    with open_store(config) as store:
        erasure = plan_erasure(store, parse_run(name), config.user, time.time(), force=force)
        if yes:
            erase(store.backend, erasure)
            forget_removed(store, erasure.versions)
    if as_json:
        print_json({"removed": yes, "run": erasure.name, **_amounts(erasure)})
    else:
        _say_removed(erasure, removed=yes)
    if not yes and not as_json:
        raise UsageError(f"nothing was removed: studio runs rm {erasure.name} --yes removes it, and cannot be undone")


def _amounts(erasure: Erasure) -> dict[str, int]:
    return {
        "versions": len(erasure.versions),
        "records": sum(map(len, erasure.records)),
        "kept_versions": erasure.kept,
    }


def _say_removed(erasure: Erasure, *, removed: bool) -> None:
    amounts = _amounts(erasure)
    verb = "removed" if removed else "would remove"
    print(f"{verb} {erasure.name}: {counted(amounts['versions'], 'version')}, {counted(amounts['records'], 'record')}")
    if erasure.kept:
        print(f"kept {counted(erasure.kept, 'version')} that another attempt has too")
    if removed:
        print("data that no version needs any more stay in the store until studio gc deletes them")
