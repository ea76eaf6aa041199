"""The sync daemon of a run as a process of its own: `python -m studio_cas.experiment.attendant`.

It is started before the run knows what it will need, and imports meanwhile. Its stdin gives the folder in the journal
that holds its spec; where it ends without one, the run did not come that far, and there is nothing to do.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from studio_cas.errors import StudioError
from studio_cas.experiment.companion import RunCompanion
from studio_cas.sync.daemon import Daemon
from studio_cas.sync.journal import DaemonFolder


def main() -> int:
    """Be the daemon that stdin names; returns its exit code."""
    named = sys.stdin.readline()
    if not named.endswith("\n"):
        return 0
    folder = DaemonFolder(Path(os.fsdecode(bytes.fromhex(named))))
    try:
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


def _note(sentence: str) -> None:
    """Into the log: the folder of the daemon has it."""
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
