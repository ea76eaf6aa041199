"""The artifacts of a run: what is captured from where, and what each capture leaves out."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio_cas.config.home import blobcache_folder, experiment_folder
from studio_cas.errors import LocalIOError, NotFoundError, UsageError
from studio_cas.experiment.workspace import LEFT_OUT, find_environments, patterns_for_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from studio_cas.experiment.specs import CaptureSpec, ReuseSpec

WORKSPACE, OUTPUT = "workspace", "output"
OPTIONAL = ("modeldir", "tb")  # default artifacts that a script may never use: captured once they hold something


@dataclass(frozen=True, slots=True)
class Captured:
    """One captured artifact. `once`: before the script, and never again; `default`: nobody asked for it by name."""

    tag: str
    path: Path
    once: bool = False
    default: bool = False


@dataclass(frozen=True, slots=True)
class Exclusion:
    """What a capture leaves out: folders wherever they lie, and gitignore patterns."""

    folders: tuple[Path, ...] = ()
    patterns: tuple[str, ...] = ()


def check_tags(captures: Sequence[CaptureSpec], reuses: Sequence[ReuseSpec]) -> None:
    """Raise UsageError where two options give the same tag."""
    seen: dict[str, str] = {}
    for tag, option in [(spec.tag, "--capture-once" if spec.once else "--capture") for spec in captures] + [
        (spec.tag, "--reuse") for spec in reuses
    ]:
        if tag in seen:
            raise UsageError(
                f"two artifacts have the tag {tag!r}, by {seen[tag]} and {option}: give one of them another tag"
            )
        seen[tag] = option


def check_paths(captures: Sequence[CaptureSpec], store: Path | None, home: Path) -> None:
    """Raise where a path cannot be captured: NotFoundError for a missing capture-once path, else UsageError."""
    ours = [folder for folder in (store, home / "store", home / "cache", blobcache_folder(home)) if folder is not None]
    for spec in captures:
        real = Path(os.path.realpath(spec.path))
        for folder in ours:
            if real.is_relative_to(os.path.realpath(folder)):
                raise UsageError(f"{spec.path} lies in {folder}, which studio keeps for itself: it cannot be captured")
        try:
            mode = real.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            if spec.once:
                raise NotFoundError(
                    f"--capture-once: {spec.path} does not exist, and the script would miss it"
                ) from None
            continue
        except OSError as error:
            raise LocalIOError(f"{spec.path} cannot be captured: {error.strerror}") from error
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            raise UsageError(f"{spec.path} is neither a file nor a folder: it cannot be captured")


def default_places(folder: Path, home: Path, experiment: str) -> dict[str, Path]:
    """Where the default artifacts of a run in `folder` lie, but the file of `output`."""
    return {WORKSPACE: folder, **{tag: experiment_folder(home, experiment) / tag for tag in OPTIONAL}}


def plan_captures(
    captures: Sequence[CaptureSpec], defaults: Iterable[str], taken: Iterable[str], places: Mapping[str, Path]
) -> list[Captured]:
    """Every captured artifact: those asked for, then the defaults that have a place, and a tag that is not `taken`."""
    asked = [Captured(spec.tag, spec.path, once=spec.once) for spec in captures]
    used = {spec.tag for spec in captures} | set(taken)
    return asked + [Captured(tag, places[tag], default=True) for tag in defaults if tag in places and tag not in used]


def output_file(home: Path, experiment: str, attempt: int) -> Path:
    """Where the output of an attempt is kept; no tag begins with a point, so it is in no artifact's way."""
    return experiment_folder(home, experiment) / ".attempts" / f"{attempt:04}" / OUTPUT


def make_folders(captured: Iterable[Captured]) -> list[Path]:
    """Make the folders that do not exist yet, and return them. Raises LocalIOError."""
    made = []
    for artifact in captured:
        if artifact.once or artifact.path.exists():
            continue
        try:
            artifact.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            hint = "; set STUDIOML_HOME to a folder that can be written" if artifact.default else ""
            raise LocalIOError(
                f"the folder {artifact.path} for {artifact.tag} cannot be made: {error.strerror}{hint}"
            ) from error
        made.append(artifact.path)
    return made


def exclusion_of(
    artifact: Captured, all_captured: Sequence[Captured], store: Path | None, home: Path, *, whole: bool
) -> Exclusion:
    """What a capture of `artifact` leaves out: the other artifacts, the store, the home; and what `workspace` spares.

    With `whole`, `workspace` spares nothing of its own.
    """
    others = [other.path for other in all_captured if other.path != artifact.path]
    folders = [*(path for path in (store, home) if path is not None), *(path for path in others if path.is_dir())]
    patterns = patterns_for_files(artifact.path, (path for path in others if path.is_file()))
    if artifact.tag == WORKSPACE and artifact.default and not whole:
        folders += find_environments(artifact.path)
        patterns = [*LEFT_OUT, *patterns]
    return Exclusion(tuple(folders), tuple(patterns))
