"""`studio sync`: keep artifacts up to date while folders change; show, and stop, who does so."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from studio_cas.cli.commands import new_app
from studio_cas.cli.naming import local_path
from studio_cas.cli.rendering import counted, print_json, print_table, printable, shown
from studio_cas.cli.session import open_store, session_of
from studio_cas.cli.sync_status import LIST_COLUMNS, record_of, row_of, show_status, waiting_for
from studio_cas.errors import IncompleteError, NotFoundError, TransientError, UsageError

if TYPE_CHECKING:
    from typer import _click as click

    from studio_cas.config import Config
    from studio_cas.sync.overview import Kept
    from studio_cas.sync.spec import DaemonSpec, Pair

DEFAULT = "start"


class SyncCommands(TyperGroup):
    """A group whose command `start` may be left out: a path is no command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `start` before words that begin with no command."""
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


app = new_app(
    cls=SyncCommands,
    help="Keep artifacts up to date while folders change: studio sync [start] PATH EXP/TAG [PATH EXP/TAG]...",
    epilog="Example: studio sync ~/weights my_run/weights --interval 30s; see also studio sync start --help",
)


@app.command(DEFAULT, epilog="Example: studio sync ~/weights my_run/weights ~/logs my_run/logs --until-pid 4711")
def start(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="PATH EXP/TAG...", help="Folders or files, each with its artifact.")
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Look at everything this often; else saveWorkspaceFrequency."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Capture each once, and end.")] = False,
    until_pid: Annotated[
        int | None, typer.Option(metavar="PID", help="End, with a last capture, when this process ends.")
    ] = None,
    max_rate: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Bytes a second to and from the store, at most, as 20MB.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Leave out what matches (gitignore syntax); repeatable.")
    ] = None,
    join: Annotated[bool, typer.Option("--join", help="Also where another user owns the experiment.")] = False,
    no_nice: Annotated[bool, typer.Option("--no-nice", help="With the usual priority, not with a low one.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Finish what killed daemons left, and end.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but what went wrong.")] = False,
) -> int:
    """Keep artifacts up to date while folders change (`start` may be left out).

    A change is captured two seconds after it has settled, and everything is looked at once a minute. Ctrl-C, or
    `studio sync stop`, makes a last capture and ends it. Ends with 8 where that left something out.
    """
    if resume:
        if words:
            raise UsageError("--resume finishes what is in the journal: it takes no paths")
        return _resume(session_of(ctx).configuration(), quiet=quiet)
    config = session_of(ctx).configuration()
    spec = _spec(config, _pairs(words or [], tuple(exclude or ())), interval, until_pid, max_rate, nice=not no_nice)
    _claim(config, spec, join=join)
    return _run(spec, once=once, quiet=quiet)


def _pairs(words: list[str], ignore: tuple[str, ...]) -> tuple[Pair, ...]:
    from studio_cas.formats.spec import parse_spec
    from studio_cas.sync.spec import Pair

    if not words or len(words) % 2:
        raise UsageError("name folders and their artifacts in turn: studio sync PATH EXP/TAG [PATH EXP/TAG]...")
    pairs = []
    for path, name in zip(words[::2], words[1::2], strict=True):
        root = Path(os.path.abspath(local_path(path, "PATH")))  # noqa: PTH100  # keeps links
        if not root.exists():
            raise NotFoundError(f"there is no folder or file {root}: check the path")
        spec = parse_spec(name)
        if spec.version is not None or spec.path:
            raise UsageError(f"{name!r} names a version or a path: sync takes EXP/TAG, and makes the next versions")
        pairs.append(Pair(root, spec.experiment, spec.tag, ignore=ignore))
    names = [pair.name for pair in pairs]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two folders would become {name}: give one of them another name")
    return tuple(pairs)


def _spec(
    config: Config, pairs: tuple[Pair, ...], interval: str | None, until: int | None, rate: str | None, *, nice: bool
) -> DaemonSpec:
    from studio_cas.config.durations import parse_duration
    from studio_cas.config.sizes import parse_size
    from studio_cas.sync.processes import Process
    from studio_cas.sync.spec import spec_of

    period = parse_duration(interval, "--interval") if interval else config.save_workspace_frequency
    limit = parse_size(rate, "--max-rate") if rate else None
    if limit == 0:
        raise UsageError("--max-rate: 0 would never move anything")
    watched = (Process.find(until),) if until is not None else ()
    return spec_of(config, pairs, period=period, until=watched, max_rate=limit, stand_back=nice)


def _claim(config: Config, spec: DaemonSpec, *, join: bool) -> None:
    """Make the store where it is missing, and see that the experiments are ours."""
    from studio_cas.experiment.records import claim
    from studio_cas.formats.experiment import Owner
    from studio_cas.store.signing import check_key

    with open_store(config, create=True) as store:
        check_key(store)
        for experiment in dict.fromkeys(pair.experiment for pair in spec.pairs):
            claim(store.backend, Owner(experiment, config.user, os.uname().nodename, time.time()), join=join)


def _run(spec: DaemonSpec, *, once: bool, quiet: bool) -> int:
    from studio_cas.sync.daemon import Daemon
    from studio_cas.sync.journal import Journal

    journal = Journal(spec.home)
    journal.forget_old(time.time())
    folder = journal.enter(spec)
    try:
        ending = Daemon(folder, spec, _say, _silent if quiet else _say, once=once).run()
    except BaseException:
        folder.remove()
        raise
    return _finish(ending.code, ending.problems, quit_now=ending.quit)


def _finish(code: int, problems: tuple[str, ...], *, quit_now: bool) -> int:
    for problem in problems:
        _say(problem)
    if quit_now:  # a cycle still runs in a thread, and nobody waits for it
        sys.stderr.flush()
        os._exit(code)
    return code


def _resume(config: Config, *, quiet: bool) -> int:
    from studio_cas.experiment.companion import RunCompanion
    from studio_cas.sync.companion import Alone
    from studio_cas.sync.daemon import Daemon
    from studio_cas.sync.journal import Journal

    codes = []
    for folder in Journal(config.home).unfinished():
        spec = folder.read_spec()
        companion = RunCompanion(folder, spec, _say) if spec.run is not None else Alone()
        ending = Daemon(folder, spec, _say, _silent, companion, resumed=True).run()
        codes.append(_finish(ending.code, ending.problems, quit_now=ending.quit))
        if not quiet and not ending.code:
            _say(f"finished what a killed daemon left of {', '.join(pair.name for pair in spec.pairs)}")
    sent = _sendwaiting_for(config, quiet=quiet)
    if not codes and sent is None and not quiet:
        _say("no daemon was killed: there is nothing to finish")
    return next((code for code in codes if code), sent or 0)


def _sendwaiting_for(config: Config, *, quiet: bool) -> int | None:
    """Send what waits on this machine for the configured store; an exit code, None where nothing waits."""
    from studio_cas.config.opening import open_spooled_storage
    from studio_cas.store.spooled import SpooledStore, spool_state

    before = spool_state(config.home, config.storage.url, config.offline_budget)
    if before is None or not before.objects:
        return None
    with open_spooled_storage(config.storage, config.home, create=False, budget=config.offline_budget) as store:
        state = store.flush(float("inf")) if isinstance(store, SpooledStore) else before
    for line in state.lines():
        _say(line)
    lost = {what.partition(": ")[0] for what in set(state.aside).difference(before.aside)}
    sent = len(set(before.versions) - lost)
    if not state.objects and not quiet and (sent or not lost):
        _say(f"{counted(sent, 'version')} that waited went up to {before.url}")
    if state.objects:
        return TransientError.exit_code
    return IncompleteError.exit_code if lost else 0


@app.command(epilog="Example: studio sync status")
def status(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[EXP/TAG]...", help="Only these.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Show what is kept up to date now, and what was interrupted: versions, pending bytes, watches, errors."""
    from studio_cas.sync.journal import ENDED
    from studio_cas.sync.overview import overview

    config = session_of(ctx).configuration()
    found = _named(overview(config.home), names or [])
    found = [kept for kept in found if names or kept.state != ENDED]
    waiting = waiting_for(config, found)
    if as_json:
        print_json([record_of(kept, waiting) for kept in found])
        return
    if not found:
        print("nothing is kept up to date: studio sync PATH EXP/TAG begins")
    for kept in found:
        show_status(kept)
    for state in waiting.values():
        for line in state.lines():
            print(shown(line))
        if state.advice:
            print(f"  what to do: {state.advice}")


@app.command("list", epilog="Example: studio sync list --json")
def list_kept(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """List every folder that is or was kept on this machine."""
    from studio_cas.sync.overview import overview

    config = session_of(ctx).configuration()
    found = overview(config.home)
    if as_json:
        waiting = waiting_for(config, found)
        print_json([record_of(kept, waiting) for kept in found])
        return
    print_table(LIST_COLUMNS, [row_of(kept, time.time()) for kept in found], right=(2, 3))


@app.command(epilog="Example: studio sync stop my_run/weights")
def stop(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[EXP/TAG]...", help="These artifacts.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are kept on this machine.")] = False,
) -> int:
    """Make a last capture, and keep these artifacts up to date no longer; returns when that is done."""
    from studio_cas.sync.overview import overview

    if bool(names) == everything:
        raise UsageError("name what to stop, or say --all: studio sync stop EXP/TAG")
    home = session_of(ctx).configuration().home
    found = _named(overview(home), names or [])
    live = [kept for kept in found if kept.live]
    for kept in found:
        if not kept.live and names:
            hint = "; studio sync --resume finishes it" if kept.state != "ended" else ""
            raise NotFoundError(f"{kept.name} is not kept up to date by any process{hint}")
    return max((_stop(home, kept) for kept in live), default=0)


def _stop(home: Path, kept: Kept) -> int:
    from studio_cas.sync.control import DaemonGoneError, ask
    from studio_cas.sync.journal import Journal

    request = {"ask": "stop", "experiment": kept.status.get("experiment"), "tag": kept.status.get("tag")}
    try:
        answer = ask(Journal(home).daemon(kept.daemon).control, request)
    except DaemonGoneError:
        _say(f"{kept.name}: its daemon is gone; studio sync --resume finishes what it left")
        return 0
    for problem in answer.get("problems", ()):
        _say(problem)
    if not answer.get("problems"):
        print(f"{kept.name} is no longer kept up to date; its latest version is {answer.get('version') or 'none'}")
    return int(answer.get("code", 0))


def _named(found: list[Kept], names: list[str]) -> list[Kept]:
    for name in names:
        if name not in {kept.name for kept in found}:
            there_are = ", ".join(kept.name for kept in found) or "nothing"
            raise NotFoundError(f"{name} is not kept on this machine; there is: {there_are}")
    return [kept for kept in found if not names or kept.name in names]


def _say(sentence: str) -> None:
    print(f"studio: {printable(sentence)}", file=sys.stderr, flush=True)


def _silent(_sentence: str) -> None:
    pass
