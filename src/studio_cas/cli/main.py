"""Entry point of the console script: what has to be right before the rest is imported, and when all is done."""

from __future__ import annotations

import gc
import os
import signal
import sys

GARBAGE_THRESHOLD = 250_000  # rows of files are many and hold no cycles: 700, the default, costs 5 to 8 % of a capture
INTERRUPTED = 130
STARTERS = ("run", "rerun")  # commands that start a person's own program, whose environment is theirs


def main() -> None:
    """Run the command line of this process, and exit. A Ctrl-C ends it quietly, whenever it comes."""
    try:
        gc.set_threshold(GARBAGE_THRESHOLD)
        if not sys.argv[1:] or sys.argv[1] not in STARTERS:
            # numpy's threads for matrices would spin for 0.1 s, and have no work
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        from studio_cas.cli import streams

        streams.open_missing()
        from studio_cas.cli.app import app  # takes longer than many a Ctrl-C needs
        from studio_cas.cli.boundary import guard

        code = guard(app, sys.argv[1:])
        _ignore_interrupts()
    except KeyboardInterrupt:
        _ignore_interrupts()
        code = INTERRUPTED
    from studio_cas.cli import streams

    for stream in (sys.stdout, sys.stderr):
        streams.fails(stream)  # it was told before, or there is nobody to tell
    gc.disable()
    gc.freeze()  # the interpreter would look at every object twice on its way out: 15 ms
    sys.exit(code)


def _ignore_interrupts() -> None:
    """What is left is a few milliseconds of the interpreter, whose own answer would be a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
