"""What goes on in the daemons of this machine, living or dead: read from the journal, by anyone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio_cas.sync.journal import ENDED, Journal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Kept:
    """A pair, and how it is doing.

    `state`: starting, watching, capturing, stopping; `interrupted` where its daemon died before its end; `ended`.
    `daemon`: the id of the daemon that has it, or had it; `status`: what that wrote of it, maybe nothing.
    """

    state: str
    pid: int | None
    daemon: str
    status: Mapping[str, Any]

    @property
    def name(self) -> str:
        """`exp/tag`."""
        return f"{self.status.get('experiment')}/{self.status.get('tag')}"

    @property
    def live(self) -> bool:
        """Whether a daemon has it."""
        return self.pid is not None


def overview(home: Path) -> list[Kept]:
    """Every pair of the home that is remembered, by name."""
    journal = Journal(home)
    found = []
    for folder in journal.pairs():
        holder, status = folder.holder(), folder.read_status() or {}
        if holder is not None:
            phase = status.get("phase") if status.get("daemon") == holder.get("daemon") else "starting"
            found.append(Kept(phase or "starting", int(holder.get("pid", 0)), str(holder.get("daemon", "")), status))
        elif status:
            ended = status.get("phase") == ENDED
            found.append(Kept(ENDED if ended else INTERRUPTED, None, str(status.get("daemon", "")), status))
    return sorted(found, key=lambda kept: (kept.name, str(kept.status.get("path"))))
