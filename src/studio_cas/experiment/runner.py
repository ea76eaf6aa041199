"""A run, from its first check to its last record.

check → start a daemon → open the store → resolve reuses → claim the name → materialise reuses → record: created →
capture once → tell the daemon what to do → start the script → record: started → the script ends → ask for the last
captures. The daemon (companion.py) captures all along and for the last time, and records the end.
"""

from __future__ import annotations

import socket
import time
import uuid
from contextlib import closing
from typing import TYPE_CHECKING

from studio_cas.experiment import artifacts, records
from studio_cas.experiment.attempt import RunningAttempt
from studio_cas.formats.experiment import Created, Owner, Reuse, RunArtifact
from studio_cas.formats.keys import check_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from studio_cas.config import Config
    from studio_cas.experiment.artifacts import Captured
    from studio_cas.experiment.request import RunRequest, RunResult, Voice
    from studio_cas.experiment.specs import ReuseSpec
    from studio_cas.formats.version import Version
    from studio_cas.store.store import Store


def run(request: RunRequest, config: Config, voice: Voice) -> RunResult:
    """Run a script and capture its artifacts. Call it in the main thread: signals are passed on to the script.

    Raises StudioError for whatever goes wrong before the script starts.
    """
    from studio_cas.config import open_configured_store
    from studio_cas.experiment.attending import Attending
    from studio_cas.store.signing import check_key

    experiment = check_name(request.experiment or str(uuid.uuid4()), "an experiment")
    artifacts.check_tags(request.captures, request.reuses)
    artifacts.check_paths(request.captures, config.storage.folder, config.home)
    with (
        closing(Attending(voice.say)) as daemon,
        open_configured_store(config) as store,
    ):
        check_key(store)
        owner = Owner(experiment, config.user, socket.gethostname(), time.time())
        wanted = _resolve(store, request.reuses)
        records.claim(store.backend, owner, join=request.join)
        reused = [_fetch(store, tag, version, config.home, voice) for tag, version in wanted]
        created, captured = _create(store, request, config, experiment, reused)
        return RunningAttempt(store, config, request, voice, created, captured, daemon).run()


def _resolve(store: Store, reuses: Sequence[ReuseSpec]) -> list[tuple[str, Version]]:
    """Tag and version of every reuse: a mistake in the last leaves no trace, and costs no download of the first."""
    if not reuses:
        return []
    from studio_cas.formats.spec import parse_spec
    from studio_cas.store.verifying import resolve_vouched

    return [(spec.tag, resolve_vouched(store, parse_spec(spec.artifact))) for spec in reuses]


def _fetch(store: Store, tag: str, version: Version, home: Path, voice: Voice) -> RunArtifact:
    """Put a reused artifact into the blobcache, if it is not there."""
    from studio_cas.worktree.blobcache import ensure

    progress = voice.progress()
    try:
        path = ensure(store, version, home, progress)
    finally:
        progress.finish()
    voice.say(f"{tag} is {version.experiment}/{version.tag}, version {version.number}")
    source = Reuse(version.experiment, version.tag, version.number, version.manifest_id.hex())
    return RunArtifact(tag, str(path), mutable=False, reuse=source)


def _create(
    store: Store, request: RunRequest, config: Config, experiment: str, reused: list[RunArtifact]
) -> tuple[Created, list[Captured]]:
    """Record what was asked for, under the number of a new attempt."""
    places = artifacts.default_places(request.folder, config.home, experiment)
    captured = artifacts.plan_captures(request.captures, request.defaults, [one.tag for one in reused], places)
    created = Created(
        experiment=experiment,
        attempt=0,
        user=config.user,
        host=socket.gethostname(),
        time=time.time(),
        command=request.command,
        folder=str(request.folder),
        period=config.save_workspace_frequency,
        artifacts=(*map(_recorded, captured), *reused),
        python=request.python,
        defaults=request.defaults,
        workspace_all=request.workspace_all,
        repeats=request.repeats,
    )
    return records.create_attempt(store.backend, created), captured


def _recorded(one: Captured) -> RunArtifact:
    return RunArtifact(one.tag, str(one.path), mutable=not one.once, default=one.default)
