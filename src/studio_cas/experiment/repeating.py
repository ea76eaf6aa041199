"""Repeating a run from its record, on any machine: plan (nothing is fetched), then fetch, then run as any other.

Everything lies in one fresh folder: the workspace as it was at the start of the recorded run, and beside it a folder
for each artifact that was captured from elsewhere. What was captured once is fetched; what was captured all along
begins empty. Reuses are the recorded versions.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio_cas.config.home import experiment_folder
from studio_cas.config.spelling import did_you_mean
from studio_cas.errors import ConflictError, LocalIOError, NotFoundError, UsageError
from studio_cas.experiment.artifacts import WORKSPACE
from studio_cas.experiment.request import RunRequest
from studio_cas.experiment.runs import run_name
from studio_cas.experiment.specs import CaptureSpec, ReuseSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from studio_cas.experiment.states import Span
    from studio_cas.formats.experiment import Created, Reuse, RunArtifact
    from studio_cas.formats.version import Version
    from studio_cas.progress import Progress
    from studio_cas.store.store import Store


@dataclass(frozen=True, slots=True)
class Fetch:
    """A version that is fetched to `dest`, the folder or the file itself."""

    version: Version
    dest: Path


@dataclass(frozen=True, slots=True)
class Repetition:
    """What is fetched, in order, and what is run then. `moved`: tag, path in the record, path here."""

    root: Path
    fetches: tuple[Fetch, ...]
    moved: tuple[tuple[str, str, Path], ...]
    request: RunRequest


@dataclass(frozen=True, slots=True)
class Wish:
    """How to repeat: under which name, in which folder, with which Python; `places`: tag to another path for it."""

    experiment: str
    root: Path
    python: str
    places: Mapping[str, Path]
    join: bool = False


def fresh_folder(home: Path, experiment: str) -> Path:
    """Where a repetition goes if nobody says where: a folder that does not exist yet."""
    folder = experiment_folder(home, experiment) / ".reruns"  # no tag begins with a point
    number = 1
    while (folder / f"{number:04}").exists():
        number += 1
    return folder / f"{number:04}"


def plan_repetition(store: Store, created: Created, left: Mapping[str, Span], wish: Wish) -> Repetition:
    """How to repeat the run that `created` asked for and that `left` those versions.

    Raises NotFoundError where the store lacks something that it takes, ConflictError where the folder is in use.
    """
    name = run_name(created)
    _check_folder(wish.root)
    captured = [artifact for artifact in created.artifacts if artifact.reuse is None]
    _check_places(wish.places, [artifact.tag for artifact in captured], name)
    versions = _Versions(store, created, left)
    places = _places(created, captured, versions, wish)
    workspace = _workspace(captured, created)
    fetches = [Fetch(versions.first(workspace.tag), places[workspace.tag])]
    fetches += [
        Fetch(versions.first(artifact.tag), places[artifact.tag]) for artifact in captured if not artifact.mutable
    ]
    moves = {created.folder: places[workspace.tag], **{artifact.path: places[artifact.tag] for artifact in captured}}
    request = RunRequest(
        command=_command(created, moves, wish.python),
        folder=places[workspace.tag],
        python=wish.python,
        experiment=wish.experiment,
        captures=tuple(
            CaptureSpec(artifact.tag, places[artifact.tag], once=not artifact.mutable)
            for artifact in captured
            if not artifact.default
        ),
        reuses=tuple(
            ReuseSpec(_pinned(store, artifact.reuse), artifact.tag) for artifact in created.artifacts if artifact.reuse
        ),
        defaults=created.defaults,
        workspace_all=created.workspace_all,
        join=wish.join,
        repeats=name,
    )
    moved = tuple((artifact.tag, artifact.path, places[artifact.tag]) for artifact in captured if not artifact.default)
    return Repetition(wish.root, tuple(fetches), moved, request)


class _Versions:
    """The versions of the recorded run, each read once."""

    def __init__(self, store: Store, created: Created, left: Mapping[str, Span]) -> None:
        self._store = store
        self._created = created
        self._left = left
        self._found: dict[str, Version | None] = {}

    def find(self, tag: str) -> Version | None:
        """The version of the first state of an artifact; None where it has none."""
        from studio_cas.store.versions import read

        if tag not in self._found:
            span = self._left.get(tag)
            self._found[tag] = read(self._store, self._created.experiment, tag, span[0]) if span else None
        return self._found[tag]

    def first(self, tag: str) -> Version:
        """The same. Raises NotFoundError."""
        found = self.find(tag)
        if found is None:
            raise NotFoundError(f"{run_name(self._created)} cannot be repeated: its {tag} was never captured")
        return found


def _check_folder(root: Path) -> None:
    try:
        if root.exists() and any(root.iterdir()):
            raise ConflictError(f"{root} is not empty: name a folder that does not exist yet")
    except NotADirectoryError:
        raise ConflictError(f"{root} is a file: name a folder that does not exist yet") from None
    except OSError as error:
        raise LocalIOError(f"{root} cannot be used: {error.strerror}") from error


def _check_places(places: Mapping[str, Path], tags: Sequence[str], name: str) -> None:
    for tag in places:
        if tag not in tags:
            hint = did_you_mean(tag, tags) or f": {', '.join(tags)}"
            raise UsageError(f"{name} captured no artifact {tag!r}{hint}")


def _workspace(captured: Sequence[RunArtifact], created: Created) -> RunArtifact:
    """The artifact that holds the working folder, and so the script."""
    holding = [artifact for artifact in captured if artifact.path == created.folder]
    for artifact in sorted(holding, key=lambda artifact: artifact.tag != WORKSPACE):
        return artifact
    raise NotFoundError(
        f"{run_name(created)} cannot be repeated: its working folder {created.folder} was not captured (--no-workspace)"
    )


def _places(created: Created, captured: Sequence[RunArtifact], versions: _Versions, wish: Wish) -> dict[str, Path]:
    """Where each artifact lies now: in the workspace where it lay there, else in a folder beside it."""
    workspace = wish.places.get(WORKSPACE, wish.root / WORKSPACE)
    places = {}
    for artifact in captured:
        path = Path(artifact.path)
        if artifact.tag in wish.places:
            places[artifact.tag] = wish.places[artifact.tag]
        elif path.is_relative_to(created.folder):
            places[artifact.tag] = workspace / path.relative_to(created.folder)
        else:
            found = versions.find(artifact.tag)
            single = found is not None and found.is_file
            places[artifact.tag] = wish.root / artifact.tag / path.name if single else wish.root / artifact.tag
    return places


def _pinned(store: Store, reuse: Reuse) -> str:
    """The recorded version; by its content, where its number means another one now. Raises NotFoundError."""
    from studio_cas.store.versions import read, resolve

    name = f"{reuse.experiment}/{reuse.tag}@"
    try:
        if read(store, reuse.experiment, reuse.tag, reuse.number).manifest_id.hex() == reuse.manifest:
            return f"{name}{reuse.number}"
    except NotFoundError:
        pass
    return f"{name}{resolve(store, name + reuse.manifest).number}"


def _command(created: Created, moves: Mapping[str, Path], python: str) -> tuple[str, ...]:
    """The recorded words, with paths of the recorded machine replaced. Raises NotFoundError for a script elsewhere."""
    first, *rest = created.command
    words = [_moved(word, moves) for word in rest]
    if first != created.python:
        return (_moved(first, moves), *words)
    script = os.path.normpath(Path(created.folder) / rest[0]) if rest else created.folder
    if not Path(script).is_relative_to(created.folder):
        raise NotFoundError(
            f"{run_name(created)} cannot be repeated: its script {rest[0]} lay outside of the working folder "
            f"{created.folder}, and was not captured"
        )
    return (python, *words)


def _moved(word: str, moves: Mapping[str, Path]) -> str:
    """`word`, or `--option=word`, with a recorded path at its beginning replaced; the longest that fits."""
    option, equals, value = word.partition("=")
    if equals and option.startswith("-"):
        return f"{option}={_moved(value, moves)}"
    if not word.startswith("/"):
        return word
    path = Path(word)
    for old in sorted(moves, key=len, reverse=True):
        if path.is_relative_to(old):
            return str(moves[old] / path.relative_to(old))
    return word


def fetch(store: Store, repetition: Repetition, progress: Callable[[], Progress]) -> None:
    """Fetch what the run takes. Raises NotFoundError where the workspace lacks the script, and what a pull raises."""
    from studio_cas.store.verifying import vouched
    from studio_cas.worktree.fetch import local_errors
    from studio_cas.worktree.materialise import materialise

    for part in repetition.fetches:
        shown = progress()
        try:
            with local_errors(part.dest):
                part.dest.parent.mkdir(parents=True, exist_ok=True)
            materialise(store, vouched(store, part.version), part.dest, progress=shown)
        finally:
            shown.finish()
    for _, _, place in repetition.moved:
        with local_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
    _check_program(repetition.request)


def _check_program(request: RunRequest) -> None:
    """What is executed has to be there: it may have been left out of the workspace, or be on another machine alone."""
    ours = request.command[0] == request.python
    word = request.command[1] if ours else request.command[0]
    if not Path(word).is_relative_to(request.folder) and (word.startswith("/") or ("/" not in word and not ours)):
        if shutil.which(word) is None:
            raise NotFoundError(f"{request.repeats} cannot be repeated: there is no program {word} on this machine")
    elif not (request.folder / word).is_file():
        raise NotFoundError(f"{request.repeats} cannot be repeated: its workspace has no {word}; it was left out")
