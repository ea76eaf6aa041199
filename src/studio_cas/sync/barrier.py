"""A version now, as a barrier: asked of the daemon that keeps the artifact, or made here where there is none.

The daemon answers when a capture that began after the request is in the store. Where the daemon is dead, or dies
meanwhile, the capture is made into the store that the daemon was told to use: by a process of its own, for one that
closes a file drops the locks that it has on it, and the script that asks may be in the middle of a transaction of a
database there.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import TYPE_CHECKING

from studio_cas.config import load_config
from studio_cas.config.opening import open_storage
from studio_cas.errors import LocalIOError, StudioError, TransientError
from studio_cas.sync import spec as specs
from studio_cas.sync.control import DaemonGoneError, ask, error_of
from studio_cas.sync.engine import Keeper, run_cycle
from studio_cas.sync.journal import Journal, pair_prefix
from studio_cas.sync.spec import Pair, spec_of

if TYPE_CHECKING:
    from pathlib import Path

    from studio_cas.sync.spec import DaemonSpec


def commit(home: Path, path: Path, experiment: str, tag: str, timeout: float) -> str:
    """The name of a version of `experiment/tag` that holds what is in `path` now.

    Raises TransientError (no version in `timeout` seconds; where no daemon answers, the capture is not cut short), and
    what a capture raises.
    """
    journal = Journal(home)
    left: DaemonSpec | None = None
    for folder in journal.pairs(pair_prefix(path, experiment, tag)):
        holder, status = folder.holder(), folder.read_status() or {}
        daemon = journal.daemon(str((holder or status).get("daemon", "none")))
        if holder is not None:
            request = {"ask": "commit", "experiment": experiment, "tag": tag}
            try:
                return str(ask(daemon.control, request, timeout=timeout)["version"])
            except DaemonGoneError:
                pass
            except TransientError as error:
                raise TransientError(f"no version of {experiment}/{tag} within {timeout:g} s: {error}") from error
        if daemon.has_spec():
            left = daemon.read_spec()
    return _capture(left, home, path, experiment, tag)


def _capture(left: DaemonSpec | None, home: Path, path: Path, experiment: str, tag: str) -> str:
    """Capture in a process of its own, as a daemon with that spec would, or as configured."""
    spec = left or spec_of(load_config(home=home), ())
    known = [pair for pair in spec.pairs if (pair.experiment, pair.tag) == (experiment, tag)]
    asked = dataclasses.replace(spec, pairs=(known[0] if known else Pair(path, experiment, tag),))
    command = [sys.executable, "-P", "-m", "studio_cas.sync.barrier"]
    try:
        done = subprocess.run(command, input=specs.encode(asked), stdout=subprocess.PIPE, check=False)  # noqa: S603
        answer = json.loads(done.stdout)
    except OSError as error:
        raise LocalIOError(f"a process for the capture cannot be started: {error.strerror}") from error
    except ValueError as error:
        raise StudioError(f"{experiment}/{tag} was not captured: the capture ended with {done.returncode}") from error
    if "error" in answer:
        raise error_of(answer["error"], answer["sentence"])
    return str(answer["version"])


def _capture_once(spec: DaemonSpec) -> str:
    """Capture the one pair of `spec`, in this process."""
    (pair,) = spec.pairs
    keeper = Keeper(lambda: open_storage(spec.storage, spec.home))
    try:
        cycle = run_cycle(
            keeper, lambda: pair, user=spec.user, compression=spec.compression, final=False, progress=None
        )
    finally:
        keeper.close()
    if cycle.error is not None:
        raise cycle.error
    if cycle.result is None:
        raise StudioError(f"{pair.name}: there is nothing in {pair.path} yet")
    return cycle.result.version.name


def main() -> None:
    """Capture what the spec on stdin says, and answer on stdout."""
    try:
        answer = {"version": _capture_once(specs.decode(sys.stdin.buffer.read()))}
    except StudioError as error:
        answer = {"error": error.kind, "sentence": str(error)}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
