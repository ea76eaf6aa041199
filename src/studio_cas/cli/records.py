"""What commands print of versions, entries and changes; the JSON keys are stable, and listed in docs/cli.md."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from studio_cas.cli.rendering import shown, size, timestamp

if TYPE_CHECKING:
    from studio_cas.formats.version import Version
    from studio_cas.worktree.listing import ListedEntry
    from studio_cas.worktree.materialise import Change


def version_record(version: Version) -> dict[str, Any]:
    """A version, without the packs it uses."""
    return {
        "experiment": version.experiment,
        "tag": version.tag,
        "version": version.number,
        "manifest": str(version.manifest_id),
        "files": version.files,
        "size": version.size,
        "stored": version.stored,
        "time": timestamp(version.time),
        "host": version.host,
        "user": version.user,
        "parent": version.parent,
        "final": version.final,
        "is_file": version.is_file,
        "stale": list(version.stale),
        "skipped": list(version.skipped),
    }


def entry_record(entry: ListedEntry) -> dict[str, Any]:
    """One file, folder or link of a version; `mtime` in seconds since the epoch."""
    return {
        "path": os.fsdecode(entry.path),
        "kind": entry.kind,
        "size": entry.size,
        "executable": entry.executable,
        "mtime": entry.mtime_ns / 1e9 if entry.mtime_ns else None,
        "target": os.fsdecode(entry.target) if entry.target else None,
    }


def change_record(change: Change) -> dict[str, Any]:
    """One difference between two versions, or between a version and a folder."""
    return {
        "path": os.fsdecode(change.path),
        "change": change.kind,
        "old_size": change.old_size,
        "new_size": change.new_size,
    }


MARKS = {"added": "+", "removed": "-", "changed": "~"}


def change_line(change: Change) -> str:
    """`+ path (size)`, `- path (size)` or `~ path (old size -> new size)`."""
    sizes = [size(count) for count in dict.fromkeys((change.old_size, change.new_size)) if count is not None]
    amount = f" ({' -> '.join(sizes)})" if sizes else ""
    return f"{MARKS[change.kind]} {shown(change.path)}{amount}"
