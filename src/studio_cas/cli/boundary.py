"""The one place where errors end: every exception becomes one sentence on stderr and a documented exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING

import typer
from typer.exceptions import TyperException

from studio_cas.cli import streams
from studio_cas.cli.rendering import printable
from studio_cas.errors import LocalIOError, NoSpaceError, StudioError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

INTERRUPTED = 130
PIPE_CLOSED = 141
CRASHED = 70


def guard(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run `app` with `arguments`; returns the exit code, whatever happens inside."""
    try:
        code = _invoke(app, arguments)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        streams.silence(sys.stdout)
        return PIPE_CLOSED
    except Exception as error:  # noqa: BLE001  # the process's edge: nothing above would tell it better
        return _report(error)
    return code


def _invoke(app: typer.Typer, arguments: Sequence[str]) -> int:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="surrogateescape")  # a file name may be any bytes
    group = typer.main.get_command(app)
    try:
        with group.make_context("studio", list(arguments)) as context:
            result = group.invoke(context)
    except typer.Exit as ending:
        return ending.exit_code
    return result if isinstance(result, int) else 0


def _report(error: Exception) -> int:
    if os.environ.get("STUDIO_TRACEBACK") == "1":
        import traceback

        traceback.print_exception(error)
    if isinstance(error, TyperException):
        return _report_usage(error)
    if isinstance(error, OSError):
        error = _from_system(error)
    if isinstance(error, StudioError):
        _say(str(error))
        return error.exit_code
    place = _write_traceback(error)
    _say(f"unexpected {type(error).__name__}: {error}; this is a fault of studio, its traceback is in {place}")
    return CRASHED


def _report_usage(error: TyperException) -> int:
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    _say(error.format_message().rstrip(".") + hint)
    return error.exit_code


def _from_system(error: OSError) -> StudioError:
    place = os.fsdecode(error.filename) if error.filename else "standard output" if streams.fails(sys.stdout) else ""
    what = f"{place}: {error.strerror}" if place else str(error.strerror or error)
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    return NoSpaceError(f"{what}; free some space and call again") if full else LocalIOError(what)


def _write_traceback(error: Exception) -> Path:
    import platform
    import tempfile
    import traceback
    from datetime import UTC, datetime
    from importlib.metadata import version
    from pathlib import Path

    from studio_cas.config import studio_home

    now = datetime.now(UTC)
    text = f"studio {version('studio-cas')}, Python {platform.python_version()}, {platform.platform()}\n\n"
    text += "".join(traceback.format_exception(error))
    name = f"crash-{now:%Y%m%dT%H%M%S}-{os.getpid()}.txt"
    places = [Path(tempfile.gettempdir())]
    with contextlib.suppress(StudioError):  # there is no home
        places.insert(0, studio_home() / "logs")
    for folder in places:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError:
            continue
        return folder / name
    return Path(os.devnull)


def _say(sentence: str) -> None:
    with contextlib.suppress(OSError):  # there is nobody to tell; the exit code still says it
        sys.stderr.write(f"studio: {printable(sentence)}\n")
