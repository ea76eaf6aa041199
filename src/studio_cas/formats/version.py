"""A version record: JSON that a person can read, created once. "Version 7 of exp/tag is manifest M"."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from studio_cas.errors import CorruptError
from studio_cas.formats.leaf import Place
from studio_cas.ids import ManifestId, PackId

FORMAT_NUMBER = 1
LIST_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Tree:
    """Where the root is: embedded (`text`, and its plain size), or at a place in a tree pack."""

    text: str | None = None
    plain_size: int = 0
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable record.

    `size`: plain bytes of all files; `stored`: bytes that this capture added to the store; `time`: seconds since the
    epoch, when the capture began; `writer`: random, tells two captures apart; `stale`: paths that were being written,
    of which the earlier state stands; `skipped`: paths that could not be read or are no files (at most LIST_LIMIT).
    """

    experiment: str
    tag: str
    number: int
    manifest_id: ManifestId
    tree: Tree
    tree_packs: tuple[PackId, ...]
    size: int
    files: int
    stored: int
    time: float
    host: str
    user: str
    writer: str
    parent: int | None
    final: bool
    is_file: bool
    stale: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`exp/tag@7`."""
        return f"{self.experiment}/{self.tag}@{self.number}"

    @property
    def entries(self) -> int:
        """The count of regular files."""
        return self.files


def encode(version: Version) -> bytes:
    """The record as JSON."""
    tree: dict[str, Any]
    if version.tree.place is None:
        tree = {"inline": version.tree.text, "plain_size": version.tree.plain_size}
    else:
        pack, offset, stored, plain, _, codec = version.tree.place
        tree = {"pack": pack.hex(), "offset": offset, "stored": stored, "plain": plain, "codec": codec}
    document = {
        "format": FORMAT_NUMBER,
        "experiment": version.experiment,
        "tag": version.tag,
        "number": version.number,
        "manifest": version.manifest_id.hex(),
        "kind": "file" if version.is_file else "folder",
        "size": version.size,
        "files": version.files,
        "stored": version.stored,
        "time": datetime.fromtimestamp(version.time, UTC).isoformat(timespec="microseconds"),
        "host": version.host,
        "user": version.user,
        "writer": version.writer,
        "parent": version.parent,
        "final": version.final,
        "stale": list(version.stale[:LIST_LIMIT]),
        "skipped": list(version.skipped[:LIST_LIMIT]),
        "tree_packs": base64.b64encode(b"".join(version.tree_packs)).decode(),
        "tree": tree,
    }
    return _text(document)


def _text(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=True).encode() + b"\n"


def renumbered(data: bytes, number: int, parent: int | None) -> bytes:
    """The record `data` with another number and parent, and all else as it was."""
    return _text(json.loads(data) | {"number": number, "parent": parent})


def decode(data: bytes) -> Version:
    """Raises CorruptError."""
    try:
        document = json.loads(data)
        if document["format"] != FORMAT_NUMBER:
            message = (
                f"a version record has format {document['format']}: a newer studio_cas wrote it; upgrade to read it"
            )
            raise CorruptError(message)
        packs = base64.b64decode(document["tree_packs"])
        return Version(
            experiment=document["experiment"],
            tag=document["tag"],
            number=int(document["number"]),
            manifest_id=ManifestId.parse(document["manifest"]),
            tree=_tree(document["tree"]),
            tree_packs=tuple(PackId(packs[at : at + PackId.size]) for at in range(0, len(packs), PackId.size)),
            size=int(document["size"]),
            files=int(document["files"]),
            stored=int(document["stored"]),
            time=datetime.fromisoformat(document["time"]).timestamp(),
            host=str(document["host"]),
            user=str(document["user"]),
            writer=str(document["writer"]),
            parent=document["parent"],
            final=bool(document["final"]),
            is_file=document["kind"] == "file",
            stale=tuple(document["stale"]),
            skipped=tuple(document["skipped"]),
        )
    except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
        message = f"a version record is damaged: {error!r}"
        raise CorruptError(message) from error


def _tree(document: dict[str, Any]) -> Tree:
    if "inline" in document:
        return Tree(str(document["inline"]), int(document["plain_size"]))
    place = Place(
        PackId.parse(document["pack"]),
        int(document["offset"]),
        int(document["stored"]),
        int(document["plain"]),
        0,
        int(document["codec"]),
    )
    return Tree(place=place)
