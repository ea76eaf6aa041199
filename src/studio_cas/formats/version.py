"""A version record: JSON that a person can read, created once. "Version 7 of exp/tag is manifest M"."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from studio_cas.errors import CorruptError
from studio_cas.formats import document
from studio_cas.formats.leaf import Place
from studio_cas.ids import ManifestId, PackId

if TYPE_CHECKING:
    from studio_cas.ids import Buffer

FORMAT_NUMBER = 1
MARK_FORMAT = 2
MARK_LIMIT = 4096
LIST_LIMIT = 1000
SIGNATURE_KEYS = ("signed", "signature")
"""What stands at the end of a signed record: see formats/signature."""


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
    row = {
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
    return _text(row)


def _text(row: dict[str, Any]) -> bytes:
    return json.dumps(row, indent=1, ensure_ascii=True).encode() + b"\n"


def renumbered(data: bytes, number: int, parent: int | None) -> bytes:
    """The record `data` with another number and parent, without a signature, and all else as it was.

    Raises CorruptError.
    """
    with document.reading("a version record is damaged"):
        row = document.parse(data) | {"number": number, "parent": parent}
    return _text({name: value for name, value in row.items() if name not in SIGNATURE_KEYS})


def stating(data: bytes, statement: dict[str, Any]) -> bytes:
    """The record `data`, which has no signature, with what its signer states."""
    with document.reading("a version record is damaged"):
        return _text(document.parse(data) | {SIGNATURE_KEYS[0]: statement})


def removal_mark(number: int, user: str, time: float) -> bytes:
    """What lies in the place of version `number`, the newest, that somebody removed: the number is used up."""
    moment = datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")
    return _text({"format": MARK_FORMAT, "removed": number, "user": user, "time": moment})


def is_removal_mark(data: Buffer) -> bool:
    """Whether it is one of those, and no record."""
    if len(data) > MARK_LIMIT:
        return False
    try:
        row = document.parse(data)
    except (ValueError, TypeError, RecursionError):
        return False
    return row.get("format") == MARK_FORMAT and isinstance(row.get("removed"), int)


def decode(data: Buffer) -> Version:
    """Raises CorruptError."""
    with document.reading("a version record is damaged"):
        row = document.parse(data)
        if document.integer(row["format"]) != FORMAT_NUMBER:
            number = f"{row['format']!s:.20}"
            raise CorruptError(f"a version record has format {number}: a newer studio_cas wrote it; upgrade to read it")
        return Version(
            experiment=document.text(row["experiment"]),
            tag=document.text(row["tag"]),
            number=document.count(row["number"]),
            manifest_id=ManifestId.parse(document.text(row["manifest"])),
            tree=_tree(document.mapping(row["tree"])),
            tree_packs=_pack_ids(document.text(row["tree_packs"])),
            size=document.count(row["size"]),
            files=document.count(row["files"]),
            stored=document.count(row["stored"]),
            time=document.moment(row["time"]),
            host=document.text(row["host"]),
            user=document.text(row["user"]),
            writer=document.text(row["writer"]),
            parent=None if row["parent"] is None else document.count(row["parent"]),
            final=document.flag(row["final"]),
            is_file=_is_file(document.text(row["kind"])),
            stale=document.texts(row["stale"]),
            skipped=document.texts(row["skipped"]),
        )


def _is_file(kind: str) -> bool:
    if kind not in {"file", "folder"}:
        raise ValueError(f"{kind:.20} is no kind of artifact")
    return kind == "file"


def _pack_ids(text: str) -> tuple[PackId, ...]:
    packs = base64.b64decode(text, validate=True)
    if len(packs) % PackId.size:
        raise ValueError("its list of packs ends early")
    return tuple(PackId(packs[at : at + PackId.size]) for at in range(0, len(packs), PackId.size))


def _tree(row: dict[str, Any]) -> Tree:
    if "inline" in row:
        return Tree(document.text(row["inline"]), document.count(row["plain_size"]))
    pack = PackId.parse(document.text(row["pack"]))
    offset, stored, plain, codec = (document.count(row[name]) for name in ("offset", "stored", "plain", "codec"))
    return Tree(place=Place(pack, offset, stored, plain, 0, codec))
