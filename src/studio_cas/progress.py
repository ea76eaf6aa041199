"""How long work tells of itself: one small protocol, and the silent one."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told by capture and materialise what is going on. Called from one thread."""

    def start(self, label: str, total_bytes: int | None = None) -> None:
        """A phase begins; `total_bytes` is None where it is not known."""

    def advance(self, count: int, files: int = 0) -> None:
        """`count` more plain bytes, and `files` more files, are done."""

    def finish(self) -> None:
        """The last phase ended, in whatever way."""


class Silent:
    """A Progress that says nothing."""

    def start(self, label: str, total_bytes: int | None = None) -> None:
        """Say nothing."""

    def advance(self, count: int, files: int = 0) -> None:
        """Say nothing."""

    def finish(self) -> None:
        """Say nothing."""
