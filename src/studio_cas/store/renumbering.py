"""Numbers of versions that waited: a number that somebody took meanwhile becomes the next free one.

What was decided is written down before the record goes up under it, so a process that goes on after a kill decides the
same, and no version is there twice. Later versions of the artifact follow, in order, and so do their parents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from studio_cas.formats import keys

if TYPE_CHECKING:
    from studio_cas.backends.base import Backend

FOLDER: Final = "renumbered/"


class Renumbering:
    """The decisions that stand on `disk`; an artifact is the prefix of its version records."""

    def __init__(self, disk: Backend) -> None:
        self._disk = disk
        self._decided: dict[str, dict[int, int]] = {}
        for found in disk.list(FOLDER):
            key, _, _ = found.key.removeprefix(FOLDER).rpartition("/")
            number = int(bytes(disk.read(found.key)))
            of_artifact = self._decided.setdefault(key[: key.rindex("/") + 1], {})
            old = keys.version_number(key)
            of_artifact[old] = max(number, of_artifact.get(old, 0))

    def number(self, artifact: str, old: int) -> int:
        """The number to try for the version that was made as `old`."""
        decided = self._decided.get(artifact, {})
        return decided.get(old) or max([old, *(number + 1 for number in decided.values())])

    def parent(self, artifact: str, old: int | None) -> int | None:
        """The number that its parent has now."""
        return None if old is None else self._decided.get(artifact, {}).get(old, old)

    def decide(self, artifact: str, old: int, number: int) -> None:
        """Write down that `old` goes up as `number`."""
        decided = self._decided.setdefault(artifact, {})
        if decided.get(old) != number and (old != number or old in decided):
            key = f"{artifact}{keys.NUMBER_LIMIT - old:0{keys.NUMBER_DIGITS}}"
            self._disk.create(f"{FOLDER}{key}/{number}", [str(number).encode()])
            decided[old] = number

    def forget(self) -> None:
        """Nothing waits any more."""
        for found in list(self._disk.list(FOLDER)):
            self._disk.delete(found.key)
        self._decided = {}
