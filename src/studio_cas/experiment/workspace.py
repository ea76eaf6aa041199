"""What of the working folder is captured as `workspace`: not what a tool can make again, and never our own files."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio_cas.errors import StudioError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

LEFT_OUT = (  # gitignore patterns; a line `!name/` in .studioml_ignore brings one back
    ".git/", ".hg/", ".svn/", "__pycache__/", ".venv/", "venv/", ".tox/", ".nox/", "node_modules/",
    ".mypy_cache/", ".pytest_cache/", ".ruff_cache/", ".ipynb_checkpoints/",
)  # fmt: skip
LARGE = 1 << 30  # bytes; a workspace beyond it is probably a mistake
_MARKS = frozenset({"pyvenv.cfg", "conda-meta"})  # a folder that holds one of them is an environment
_DEPTH = 3  # folders of environments are looked for this deep
_FOLDERS = 2000  # and in this many folders at most
_SURVEY_SECONDS = 2.0


def find_environments(root: Path) -> list[Path]:
    """Virtual environments near the top of `root`, whatever their names; `root` itself is none."""
    found: list[Path] = []
    level, seen = [root], 0
    for _ in range(_DEPTH + 1):
        below: list[Path] = []
        for folder in level:
            seen += 1
            if seen > _FOLDERS:
                return found
            names, folders = _look_into(folder)
            if folder != root and names & _MARKS:
                found.append(folder)
            else:
                below += [folder / name for name in folders if f"{name}/" not in LEFT_OUT]
        level = below
    return found


def _look_into(folder: Path) -> tuple[set[str], list[str]]:
    """All names in `folder`, and those of its folders."""
    names, folders = set(), []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                names.add(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
    except OSError:
        pass  # the capture will say so
    return names, folders


def patterns_for_files(root: Path, files: Iterable[Path]) -> list[str]:
    """Gitignore patterns that leave exactly these files out of `root`."""
    real = os.path.realpath(root)
    inside = (os.path.relpath(os.path.realpath(file), real) for file in files)
    return ["/" + _escape(path) for path in inside if path != "." and not path.startswith("..")]


def _escape(path: str) -> str:
    special = "\\*?[]!#"
    spaced = (f"[{letter}]" if letter.isspace() else letter for letter in path)  # else space at the end is stripped
    return "".join("\\" + piece if piece in special else piece for piece in spaced)


@dataclass(frozen=True, slots=True)
class Survey:
    """How large a folder is: `size` in bytes, `largest` its biggest parts, `complete` where all was looked at."""

    size: int
    largest: tuple[tuple[str, int], ...]
    complete: bool


def survey(root: Path, patterns: Sequence[str], exclude: Sequence[Path]) -> Survey:
    """Measure what a capture of `root` would hold, for two seconds at most."""
    from studio_cas.worktree.ignore import matcher

    sizes: Counter[str] = Counter()
    deadline = time.monotonic() + _SURVEY_SECONDS
    complete = True
    try:
        ignored = matcher(root, patterns)
        for count, (path, size) in enumerate(_files(root, ignored, exclude)):
            first, slash, _ = path.partition(b"/")
            sizes[os.fsdecode(first + slash)] += size
            if count % 1000 == 999 and time.monotonic() > deadline:
                complete = False
                break
    except (OSError, StudioError):
        complete = False  # the capture tells of it
    return Survey(sizes.total(), tuple(sizes.most_common(3)), complete)


def warning_of_size(root: Path, patterns: Sequence[str], exclude: Sequence[Path]) -> str | None:
    """A sentence where `root` is so large that it is probably a mistake to capture it, else None."""
    found = survey(root, patterns, exclude)
    if found.size <= LARGE:
        return None
    largest = ", ".join(f"{name} ({_gibibytes(size)})" for name, size in found.largest)
    least = "" if found.complete else "at least "
    return (
        f"warning: the workspace {root} holds {least}{_gibibytes(found.size)}, and all of it is captured; "
        f"the largest: {largest}; name what is not needed in .studioml_ignore, or run with --no-workspace"
    )


def _gibibytes(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size / (1 << 20):.0f} MiB"


def _files(root: Path, ignored: object, exclude: Sequence[Path]) -> Iterator[tuple[bytes, int]]:
    from studio_cas.worktree.scan import scan

    pruned = {(status.st_dev, status.st_ino) for path in exclude if (status := _stat(path)) is not None}
    opened = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for row in scan(opened, ignored, pruned, lambda _path, _why: None):  # type: ignore[arg-type]
            if row.size:
                yield row.path, row.size
    finally:
        os.close(opened)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
