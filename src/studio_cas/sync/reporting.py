"""How far the cycles are, and what became of them: for status, and for the one who waits for the end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio_cas.errors import IncompleteError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from studio_cas.sync.control import Asker
    from studio_cas.sync.member import Member

PAUSE = 0.1  # seconds between two messages of one cycle


@dataclass(frozen=True, slots=True)
class Ending:
    """How a daemon ended. `code`: an exit code; `problems`: sentences; `quit`: at once, with a cycle still running."""

    code: int
    problems: tuple[str, ...] = ()
    quit: bool = False


class CycleProgress:
    """A Progress that counts for status, and tells those who wait for the daemon's end."""

    def __init__(self, member: Member, listeners: Sequence[Asker]) -> None:
        self._member = member
        self._listeners = listeners
        self._began = time.monotonic()
        self._told = float("-inf")
        self._files = 0
        self._bytes = 0

    def start(self, label: str, total_bytes: int | None = None) -> None:
        """A phase begins."""
        del total_bytes
        self._tell(label=label)

    def advance(self, count: int, files: int = 0) -> None:
        """Count, and tell now and then."""
        self._bytes += count
        self._files += files
        if self._listeners and time.monotonic() - self._told > PAUSE:
            self._tell(bytes=self._bytes, files=self._files)

    def finish(self) -> None:
        """The capture ended, in whatever way."""
        self._tell(bytes=self._bytes, files=self._files, finished=True)

    def _tell(self, **row: Any) -> None:
        self._told = time.monotonic()
        for listener in list(self._listeners):
            listener.answer(progress=self._member.pair.tag, **row)


def outcome(member: Member) -> dict[str, Any]:
    """What became of a pair in the end, as JSON values."""
    last, version = member.last, member.version
    return {
        "tag": member.pair.tag,
        "path": str(member.pair.path),
        "first": member.first,
        "version": version.number if version else None,
        "files": version.files if version else 0,
        "size": version.size if version else 0,
        "stale": list(last.stale) if last else [],
        "skipped": list(last.skipped) if last else [],
        "problem": member.trouble.sentence if member.trouble else None,
        "kind": member.trouble.kind if member.trouble else None,
    }


def code_of(member: Member) -> int:
    """The exit code that a pair asks for."""
    if member.trouble is not None:
        return member.trouble.exit_code
    left_out = member.last is not None and (member.last.stale or member.last.skipped)
    return IncompleteError.exit_code if left_out else 0


def problems_of(member: Member) -> list[str]:
    """What a person has to know of a pair in the end, in sentences."""
    if member.trouble is None:
        return [f"{member.pair.name}: {path}" for path in (member.last.skipped if member.last else ())] + [
            f"{member.pair.name}: {path} was being written, and is left as it was before"
            for path in (member.last.stale if member.last else ())
        ]
    return [f"{member.pair.name} was not captured: {member.trouble.sentence}; what to do: {member.trouble.advice}"]
