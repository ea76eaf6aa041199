"""`studio logs`: what a run has printed, here or elsewhere, and what it prints from now on."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from studio_cas.cli.commands import new_app
from studio_cas.cli.session import open_store, session_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from studio_cas.experiment.lifecycle import Attempt
    from studio_cas.store.store import Store

app = new_app()
FILE_PAUSE = 0.2  # seconds between two looks at a file of this machine
STORE_PAUSE = 2.0  # seconds between two looks at the store


@app.command(epilog="Example: studio logs my_run --follow --lines 20")
def logs(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="EXP[@ATTEMPT]", help="The run; its latest attempt by default.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    lines: Annotated[
        int | None, typer.Option("--lines", "-n", metavar="LINES", min=0, help="Begin with the last LINES lines.")
    ] = None,
) -> None:
    """Print what a run has printed, stdout and stderr as they came.

    It comes from the artifact `output`, whose new part alone is fetched; where the run goes on on this machine, from
    its file, at once.
    """
    from studio_cas.experiment import following
    from studio_cas.experiment.runs import find_run, next_created

    config = session_of(ctx).configuration()
    with open_store(config) as store:
        attempt = find_run(store.backend, name, time.time())
        following.check_captured(attempt)
        watch = _Watch(store, attempt)
        output = following.find_output(
            store, config.home, attempt, watch.look, next_created(store.backend, attempt.created)
        )
        start = following.last_lines(output, output.size(), lines) if lines is not None else 0
        is_over: Callable[[], bool] = watch.is_over if follow else lambda: True
        pause = FILE_PAUSE if isinstance(output, following.LocalOutput) else STORE_PAUSE
        for piece in following.follow(output, start, is_over, lambda: time.sleep(pause)):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()


class _Watch:
    """Looks at the records of an attempt, but not all the time."""

    def __init__(self, store: Store, attempt: Attempt) -> None:
        self._store = store
        self._attempt = attempt
        self._looked = time.monotonic()

    def look(self) -> Attempt:
        """What the records say, now or a moment ago."""
        return self._attempt

    def is_over(self) -> bool:
        """Whether nothing more will come, because the run has ended, or is lost."""
        from studio_cas.experiment.lifecycle import Status
        from studio_cas.experiment.records import complete

        if time.monotonic() - self._looked >= STORE_PAUSE:
            self._attempt = complete(self._store.backend, self._attempt.created, time.time())
            self._looked = time.monotonic()
        return self._attempt.status not in {Status.WAITING, Status.RUNNING}
