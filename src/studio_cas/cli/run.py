"""`studio run`: run a script, and capture what it reads and writes."""

from __future__ import annotations

import os
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from studio_cas.cli.commands import RawCommand, new_app
from studio_cas.cli.run_arguments import Arguments, parse_arguments
from studio_cas.cli.run_report import report, say, voice_of
from studio_cas.cli.session import Session, session_of, shown_stats
from studio_cas.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from studio_cas.config import Config
    from studio_cas.experiment.request import RunRequest
    from studio_cas.experiment.specs import CaptureSpec

HELP = """\
Usage: studio run [OPTIONS] SCRIPT [ARGS]...
       studio run [OPTIONS] -- COMMAND [ARGS]...

  Run a script, and capture what it reads and writes.

  SCRIPT is a Python script (.py); any other command follows `--`. What follows SCRIPT belongs to it. The script finds
  its artifacts with `fs_tracker.get_artifact('TAG')`. studio run ends with the exit code of the script, or with 8 where
  that is 0 and an artifact could not be captured.

Artifacts:
  -c, --capture PATH:TAG        Capture this folder or file every minute, and at the end; a missing folder is made.
  -co, --capture-once PATH:TAG  Capture it once, before the script starts.
  -r, --reuse EXP/TAG[@VERSION][:NEWTAG]
                                Give the script an artifact of another experiment, read-only.
  -e, --experiment NAME         The name of the experiment; without it, a UUID.
  --join                        Also where another user owns the experiment.

Captured without being asked (a --capture with that tag replaces one):
  --no-workspace                Not the working folder.
  --no-output                   Not what the script prints.
  --no-modeldir, --no-tb        Not the folders for models and for TensorBoard.
  --workspace-all               With .git, __pycache__ and virtual environments, which `workspace` leaves out.

Other:
  --interval DURATION           Time between captures (30s, 1m, 2h); else saveWorkspaceFrequency, else 1m.
  --grace DURATION              Time for the script to save and end, after Ctrl-C; else gracePeriod, else 30s.
  --quiet                       Say nothing but what went wrong.
  --config FILE                 The configuration file; else ~/.studioml/config.yaml.
  --store URL                   The store: gs://, s3:// or az://BUCKET/PREFIX, or a folder; else as configured.
  --home DIR                    The folder of caches and default store; else ~/.studioml.
  -v, --verbose                 Say which store and configuration are used.
  --stats                       Say at the end what was asked of the store, by class of requests, and the bytes moved.
  -h, --help                    Show this message and exit.

Example: studio run --capture=~/weights:weights --experiment linear_regression train_linreg.py
"""

app = new_app()


@app.command(cls=RawCommand)
def run(ctx: typer.Context) -> int:
    """Run a script, and capture what it reads and writes."""
    return run_command(list(ctx.args), session_of(ctx))


def run_command(words: list[str], session: Session | None = None) -> int:
    """Run what `words`, the words after `studio run`, ask for; the exit code. `session` has the options before `run`.

    Raises StudioError for whatever goes wrong before the script starts.
    """
    arguments = parse_arguments(words)
    if "help" in arguments.flags:
        print(HELP, end="")
        return 0
    captures = _captures(arguments)
    if not arguments.command:
        raise UsageError("nothing to run: name a script, as in studio run train.py; see studio run --help")
    from studio_cas.experiment.runner import run as run_experiment

    config = _configuration(arguments, session or Session())
    quiet = "quiet" in arguments.flags
    with shown_stats() if "stats" in arguments.flags else nullcontext():
        result = run_experiment(_request(arguments, captures, config), config, voice_of(quiet=quiet))
        report(result, quiet=quiet)
    return result.exit_code


def _configuration(arguments: Arguments, session: Session) -> Config:
    from studio_cas.config import load_config

    options = {
        "storage": arguments.value("store") or session.store,
        "saveWorkspaceFrequency": arguments.value("interval"),
        "gracePeriod": arguments.value("grace"),
        "queue": arguments.value("queue"),
    }
    file, home = arguments.value("config") or session.config, arguments.value("home") or session.home
    config = load_config(file, home=home, options=options)
    for warning in config.warnings:
        say(f"warning: {warning}")
    if session.verbose or "verbose" in arguments.flags:
        say(f"store {config.storage}, configuration {config.file or 'built in'}")
    if config.queue != "local":
        raise UsageError(
            f"the queue {config.queue!r} cannot be used yet: only `local`, which runs the script here and now"
        )
    return config


def _captures(arguments: Arguments) -> tuple[CaptureSpec, ...]:
    from studio_cas.experiment.specs import parse_capture

    folder = Path.cwd()
    once = [parse_capture(text, once=True, folder=folder) for text in arguments.all("capture_once")]
    return (*once, *(parse_capture(text, once=False, folder=folder) for text in arguments.all("capture")))


def _request(arguments: Arguments, captures: tuple[CaptureSpec, ...], config: Config) -> RunRequest:
    from studio_cas.experiment.environment import active_python
    from studio_cas.experiment.request import RunRequest
    from studio_cas.experiment.specs import parse_reuse

    folder, python = Path.cwd(), active_python()
    return RunRequest(
        command=_command(arguments, python),
        folder=folder,
        python=python,
        experiment=arguments.value("experiment"),
        captures=captures,
        reuses=tuple(parse_reuse(text) for text in arguments.all("reuse")),
        defaults=tuple(tag for tag in config.default_artifacts if f"no_{tag}" not in arguments.flags),
        workspace_all="workspace_all" in arguments.flags,
        join="join" in arguments.flags,
    )


def _command(arguments: Arguments, python: str) -> tuple[str, ...]:
    """The words to execute. Raises where there is no such script or program: nothing has been made by then."""
    from studio_cas.backends.tilde import expanded

    first = expanded(arguments.command[0])
    rest = arguments.command[1:]
    if arguments.script or (first.endswith(".py") and not os.access(first, os.X_OK)):
        if not Path(first).is_file():
            raise NotFoundError(f"there is no script {first}: check the path")
        return (python, first, *rest)
    if shutil.which(first) is None:
        raise NotFoundError(f"there is no program {first!r} that can be executed")
    return (first, *rest)
