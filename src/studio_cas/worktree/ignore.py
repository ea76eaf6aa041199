"""Which paths of a captured folder are left out: `.studioml_ignore` in its root, and patterns given by the caller.

Both have gitignore semantics, by pathspec, which is imported only where there are patterns.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from studio_cas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Ignored = Callable[[bytes, bool], bool]

IGNORE_FILE = ".studioml_ignore"
PARTIAL_SUFFIX = b".studio-partial"


def compiled(patterns: Sequence[str], where: str) -> Callable[[str], bool]:
    """Whether a path, with a slash at the end for a folder, matches gitignore `patterns`. Raises UsageError."""
    import re

    import pathspec

    try:
        return pathspec.GitIgnoreSpec.from_lines(patterns).match_file
    except (ValueError, re.error) as error:
        message = f"{where}: a pattern makes no sense: {error}"
        raise UsageError(message) from error


def matcher(root: Path, patterns: Sequence[str] | None = ()) -> Ignored | None:
    """A function of (relative path, is a folder) that says what to leave out, or None where nothing is.

    Without `patterns` at all (None) nothing is, whatever the file says.

    Lines of the file come after `patterns`, so `!name` in it brings back what a default leaves out.
    Raises UsageError for a pattern that makes no sense.
    """
    if patterns is None:
        return None
    lines = list(patterns)
    with suppress(FileNotFoundError, NotADirectoryError):
        lines += (root / IGNORE_FILE).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    if not lines:
        return None
    match_file = compiled(lines, str(root / IGNORE_FILE))

    def ignored(path: bytes, folder: bool) -> bool:  # noqa: FBT001 (an inner loop calls it)
        text = os.fsdecode(path)
        return match_file(text + "/" if folder else text)

    return ignored
