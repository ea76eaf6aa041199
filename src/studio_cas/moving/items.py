"""What an import finds in a source: artifacts to be, one by one, each with what it is made of."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from studio_cas.errors import CorruptError
from studio_cas.moving.unpack_tree import UnpackTree
from studio_cas.moving.unpacking import unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from studio_cas.moving.sources import Origin
    from studio_cas.moving.unpack_tree import Rules

PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Staged:
    """What is to be captured: `root`, a folder or a file. `skipped`: what was left out of it, and why."""

    root: Path
    skipped: tuple[str, ...] = ()


class Content(Protocol):
    """What an artifact is made of."""

    def stage(self, folder: Path, rules: Rules) -> Staged:
        """Put it below the empty folder `folder`, or say where it lies. Raises CorruptError, RefusedError."""
        ...


@dataclass(frozen=True, slots=True)
class Item:
    """One artifact to be. `name`: what it is called in the source; `stamp`: changes when it does; `size`: bytes there.

    `time`: when it was last changed there, in seconds since the epoch. `problem`: why it is passed over; with `broken`,
    what should be there is not, or is damaged.
    """

    name: str
    experiment: str
    tag: str
    stamp: str = ""
    size: int = 0
    time: float | None = None
    content: Content | None = None
    problem: str = ""
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive in `origin`. `called`: names that its one folder or file may have, and that are no part of it."""

    origin: Origin
    name: str
    called: frozenset[bytes] = frozenset()

    def stage(self, folder: Path, rules: Rules) -> Staged:
        """Unpack it."""
        size = self.origin.find(self.name).size
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            tree = UnpackTree(opened, rules.limit(size), rules.links)
            with self.origin.open(self.name) as file:
                unpack(file, tree)
        finally:
            os.close(opened)
        return Staged(self._root(folder, tree), tuple(f"{link}: leads outside" for link in tree.skipped))

    def _root(self, folder: Path, tree: UnpackTree) -> Path:
        """The folder, or what in it the archive was made of."""
        if len(tree.tops) != 1 or not self.called:
            return folder
        (top,) = tree.tops
        inner = folder / os.fsdecode(top)
        single = tree.members == 1 and tree.files == 1
        if single and (tree.dotted or top in self.called):
            return inner
        strip = top in self.called and not tree.dotted and inner.is_dir() and not inner.is_symlink()
        return inner if strip else folder


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder of this machine, captured where it lies."""

    path: Path

    def stage(self, folder: Path, rules: Rules) -> Staged:  # noqa: ARG002 (of the protocol)
        """It is there."""
        return Staged(self.path)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a source, at `path` in the artifact; with `md5`, verified. `legacy`: hashed with other line ends."""

    origin: Origin
    name: str
    path: bytes
    md5: str = ""
    legacy: bool = False

    def pieces(self) -> Iterator[bytes]:
        """Its bytes; the last piece comes only where they are what `md5` says. Raises CorruptError."""
        hashes: list[_Md5] = [hashlib.md5(usedforsecurity=False)]
        if self.legacy:
            hashes.append(_UnixLines())
        held = b""
        with self.origin.open(self.name) as file:
            while piece := file.read(PIECE):
                for one in hashes:
                    one.update(piece)
                yield held
                held = piece
        if self.md5 and self.md5 not in [one.hexdigest() for one in hashes]:
            message = f"{self.name} is not what its MD5 says: it is damaged"
            raise CorruptError(message)
        yield held


class _Md5(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


class _UnixLines:
    """MD5 of text whose line ends are turned into those of Unix, as DVC hashed it before its third version."""

    def __init__(self) -> None:
        self._hash = hashlib.md5(usedforsecurity=False)
        self._held = b""

    def update(self, data: bytes, /) -> None:
        """More bytes."""
        piece = self._held + data
        self._held = b"\r" if piece.endswith(b"\r") else b""
        self._hash.update(piece[: len(piece) - len(self._held)].replace(b"\r\n", b"\n"))

    def hexdigest(self) -> str:
        """Of all so far."""
        copy = self._hash.copy()
        copy.update(self._held)
        return copy.hexdigest()


@dataclass(frozen=True, slots=True)
class Files:
    """Files of a source, as a folder; or a single one, by itself."""

    files: Sequence[RemoteFile]
    single: bool = False

    def stage(self, folder: Path, rules: Rules) -> Staged:
        """Fetch them."""
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            limit = rules.size if rules.size is not None else 1 << 62  # they are as large as they say
            tree = UnpackTree(opened, limit, rules.links)
            for file in self.files:
                found = file.origin.find(file.name)
                moment = max(0, int(found.time * 1e9))
                tree.file(tree.member(file.path), file.pieces(), executable=False, mtime_ns=moment)
            tree.finish()
        finally:
            os.close(opened)
        return Staged(folder / os.fsdecode(self.files[0].path) if self.single else folder)


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON document, as a single file."""

    name: str
    value: Any = field(compare=False)

    def stage(self, folder: Path, rules: Rules) -> Staged:  # noqa: ARG002 (of the protocol)
        """Write it."""
        path = folder / self.name
        path.write_text(json.dumps(self.value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        return Staged(path)


def usable_name(text: str, taken: Iterable[str] = ()) -> str:
    """`text` as the name of an experiment or a tag: other characters become `-`; a number follows where it is taken."""
    kept = "".join(one if one.isascii() and (one.isalnum() or one in "._+=-") else "-" for one in text)
    name = kept.lstrip("._+=-")[:120] or "unnamed"
    known, number, made = set(taken), 2, name
    while made in known:
        made, number = f"{name}-{number}", number + 1
    return made
