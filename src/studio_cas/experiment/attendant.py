"""The sync daemon of a run as a process of its own: `python -m studio_cas.experiment.attendant`.

It is started before the run knows what it will need, and imports meanwhile. Its stdin says what to do, a line each:

    announce <spec>   the run has a record; captures are made before its script begins
    begin <folder>    be the daemon whose spec lies in that folder of the journal
    over              the run ended without a script, and said so

Arguments are hexadecimal. Where the lines end after an announcement, the runner was killed: the daemon records that, or
leaves it to the journal. Where they end before one, there is nothing to do.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from studio_cas.errors import StudioError
from studio_cas.experiment.companion import RunCompanion
from studio_cas.sync import spec as specs
from studio_cas.sync.daemon import Daemon
from studio_cas.sync.journal import DaemonFolder, Journal


def main() -> int:
    """Be the daemon that stdin asks for; returns its exit code."""
    try:
        folder = _asked_for()
        if folder is None:
            return 0
        spec = folder.read_spec()
        companion = RunCompanion(folder, spec, _note)
        ending = Daemon(folder, spec, companion.say, _note, companion).run()
    except StudioError as error:
        _note(str(error))
        return error.exit_code
    for problem in ending.problems:
        _note(problem)
    if ending.quit:  # a cycle still runs in a thread, and nobody waits for it
        os._exit(ending.code)
    return ending.code


def _asked_for() -> DaemonFolder | None:
    announced = None
    for line in sys.stdin:
        word, _, argument = line.rstrip("\n").partition(" ")
        if word == "over" or not line.endswith("\n"):
            return None
        data = bytes.fromhex(argument)
        if word == "begin":
            return DaemonFolder(Path(os.fsdecode(data)))
        announced = specs.decode(data)
    return Journal(announced.home).enter(announced) if announced is not None else None


def _note(sentence: str) -> None:
    """Into the log: the folder of the daemon has it."""
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
