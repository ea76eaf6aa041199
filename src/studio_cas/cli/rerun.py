"""`studio rerun`: repeat a run from its record, on any machine."""

from __future__ import annotations

import shlex
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.progress_bar import progress_bar
from studio_cas.cli.run_report import report, say, voice_of
from studio_cas.cli.session import open_store, session_of
from studio_cas.errors import UsageError

if TYPE_CHECKING:
    from studio_cas.experiment.lifecycle import Attempt
    from studio_cas.experiment.repeating import Repetition, Wish
    from studio_cas.store.store import Store

app = new_app()
DIFFERENCES_SHOWN = 20


@app.command(epilog="Example: studio rerun linear_regression@1 --experiment again")
def rerun(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="EXP[@ATTEMPT]", help="The run; its latest attempt by default.")],
    experiment: Annotated[
        str | None, typer.Option("--experiment", "-e", metavar="NAME", help="The new experiment; without it, a UUID.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to put it all; else a new folder in the home.")
    ] = None,
    capture: Annotated[
        list[str] | None,
        typer.Option("--capture", "-c", metavar="PATH:TAG", help="Another place for a captured artifact; repeatable."),
    ] = None,
    join: Annotated[bool, typer.Option("--join", help="Also where another user owns the new experiment.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be fetched and run, and do nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but what went wrong.")] = False,
) -> int:
    """Repeat a run from its record: its workspace, its data, its reuses, its command.

    What differs between the recorded Python environment and the one here is said, and not mended. The exit code is the
    script's, as with studio run.
    """
    from studio_cas.backends.tilde import expanded
    from studio_cas.experiment.environment import active_python
    from studio_cas.experiment.repeating import Wish, fetch, fresh_folder
    from studio_cas.experiment.runner import run
    from studio_cas.formats.keys import check_name

    config = session_of(ctx).configuration()
    chosen = check_name(experiment or str(uuid.uuid4()), "an experiment")
    root = Path.cwd() / expanded(str(folder)) if folder else fresh_folder(config.home, chosen)
    wish = Wish(chosen, root, active_python(), _places(capture or []), join)
    with open_store(config) as store:
        attempt, repetition = _plan(store, name, wish)
        if not quiet or dry_run:
            _tell(attempt, repetition)
        if dry_run:
            return 0
        fetch(store, repetition, progress_bar)
    result = run(repetition.request, config, voice_of(quiet=quiet))
    report(result, quiet=quiet)
    return result.exit_code


def _places(texts: list[str]) -> dict[str, Path]:
    from studio_cas.experiment.specs import parse_capture

    specs = [parse_capture(text, once=False, folder=Path.cwd()) for text in texts]
    if len({spec.tag for spec in specs}) < len(specs):
        raise UsageError("--capture names two places for one artifact: give each tag once")
    return {spec.tag: spec.path for spec in specs}


def _plan(store: Store, name: str, wish: Wish) -> tuple[Attempt, Repetition]:
    from studio_cas.experiment.repeating import plan_repetition
    from studio_cas.experiment.runs import find_run, next_created
    from studio_cas.experiment.states import states

    attempt = find_run(store.backend, name, time.time())
    left = states(store, attempt, next_created(store.backend, attempt.created))
    return attempt, plan_repetition(store, attempt.created, left, wish)


def _tell(attempt: Attempt, repetition: Repetition) -> None:
    """Say what is repeated, where, and what of the environment differs."""
    from studio_cas.experiment.environment import compare

    request = repetition.request
    say(f"repeats {request.repeats} in {request.folder}: {shlex.join(request.command)}")
    for part in repetition.fetches:
        say(f"  {part.version.name} -> {part.dest}")
    for tag, old, new in repetition.moved:
        say(f"  {tag} is {new}, and was {old}")
    for reuse in request.reuses:
        say(f"  {reuse.tag} is {reuse.artifact}")
    if attempt.started is None:
        say("the Python environment of that run was not recorded")
        return
    differences = compare(attempt.started, request.python)
    for difference in differences[:DIFFERENCES_SHOWN]:
        say(f"environment: {difference}")
    if differences[DIFFERENCES_SHOWN:]:
        more = len(differences) - DIFFERENCES_SHOWN
        say(f"environment: and {more} more differences; studio runs show {request.repeats} --json has all packages")
