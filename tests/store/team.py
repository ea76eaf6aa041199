"""People with machines of their own who share a store, and somebody who may change every object in it."""

from __future__ import annotations

import os
from pathlib import Path

from studio_cas.formats import keys
from studio_cas.store import trust
from studio_cas.store.signing import make_key
from studio_cas.store.store import open_store
from studio_cas.store.verifying import history
from studio_cas.worktree.capture import capture


class Machine:
    """A home with a key, or without one, and the store of the team."""

    def __init__(self, folder: Path, team: Path, name: str, *, key: bool = True) -> None:
        self.home = folder / name
        self.work = folder / f"{name}'s work"
        self.work.mkdir()
        self.name = name
        self.key = make_key(self.home).key if key else ""
        self.store = open_store(team, home=self.home)
        if key:
            trust.add(self.home, name, self.key)

    def captures(self, *contents: str, artifact: str = "exp/tag") -> None:
        experiment, tag = artifact.split("/")
        for content in contents:
            (self.work / "file").write_text(content)
            os.utime(self.work / "file", (1e9, 1e9))
            capture(self.store, self.work, experiment, tag)

    def finds(self, artifact: str = "exp/tag", limit: int | None = None) -> list[str]:
        """What it can say of the artifact, oldest first: `3 good`."""
        found = [
            f"{one.name.rpartition('@')[2]} {one.state}" for one in history(self.store, *artifact.split("/"), limit)
        ]
        return found[::-1]

    def tells(self, artifact: str = "exp/tag") -> str:
        return " | ".join(one.problem for one in history(self.store, *artifact.split("/")))


class Attacker:
    """Somebody who may do everything in the store, and has nobody's key but perhaps one of their own."""

    def __init__(self, team: Path) -> None:
        self.team = team

    def path(self, number: int, artifact: str = "exp/tag") -> Path:
        return self.team / keys.version(*artifact.split("/"), number)

    def drops(self, *numbers: int) -> None:
        for number in numbers:
            self.path(number).unlink()

    def writes(self, number: int, record: bytes, artifact: str = "exp/tag") -> None:
        self.path(number, artifact).parent.mkdir(parents=True, exist_ok=True)
        self.path(number, artifact).unlink(missing_ok=True)
        self.path(number, artifact).write_bytes(record)

    def reads(self, number: int, artifact: str = "exp/tag") -> bytes:
        return self.path(number, artifact).read_bytes()

    def swaps(self, one: int, other: int) -> None:
        first, second = self.reads(one), self.reads(other)
        self.writes(one, second)
        self.writes(other, first)
