"""DVC: a project, with `*.dvc` files and `dvc.lock`, or a bare remote, where only content is and no names are.

An object lies at `files/md5/<2 hex>/<30 hex>`, before DVC 3 at `<2 hex>/<30 hex>`; a folder is a JSON list under an id
that ends in `.dir`. All of it is verified by its MD5.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio_cas.errors import CorruptError, NotFoundError, StudioError, UsageError
from studio_cas.formats import document
from studio_cas.moving.items import Files, Item, RemoteFile, usable_name
from studio_cas.moving.sources import FolderOrigin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from studio_cas.moving.sources import Found, Origin

    Open = Callable[[str], Origin]

PREFIXES = (("files/md5/", False), ("", True))  # and whether texts were hashed with the line ends of Unix
MD5 = re.compile(r"[0-9a-f]{32}(?:\.dir)?")
OBJECT = re.compile(r"(?P<prefix>files/md5/|)(?P<first>[0-9a-f]{2})/(?P<rest>[0-9a-f]{30}(?:\.dir)?)")
LIMIT = 512 * 1024 * 1024  # a list of some million files
TEXT_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Output:
    """What a `.dvc` file or a stage of `dvc.lock` names: its path in the project, and its MD5, "" where it has none."""

    path: str
    md5: str


class Objects:
    """Finds objects by their MD5 in caches and remotes."""

    def __init__(self, origins: Sequence[Origin]) -> None:
        self._origins = origins

    def find(self, md5: str, path: bytes) -> RemoteFile:
        """The object. Raises NotFoundError, which names where it was looked for."""
        return self._find(md5, path)[0]

    def _find(self, md5: str, path: bytes) -> tuple[RemoteFile, Found]:
        for origin in self._origins:
            for prefix, legacy in PREFIXES:
                name = f"{prefix}{md5[:2]}/{md5[2:]}"
                try:
                    found = origin.find(name)
                except NotFoundError:
                    continue
                return RemoteFile(origin, name, path, md5.removesuffix(".dir"), legacy), found
        places = ", ".join(origin.url for origin in self._origins) or "no cache and no remote"
        raise NotFoundError(f"its object {md5} is not in {places}")

    def item(self, name: str, output: Output, experiment: str, tag: str) -> Item:
        """The artifact for `output`. Raises NotFoundError, CorruptError."""
        base = output.path.rstrip("/").rpartition("/")[2].encode("utf-8", "surrogateescape")
        if not MD5.fullmatch(output.md5):
            raise CorruptError(f"{output.md5!r:.80} is no MD5")
        if not output.md5.endswith(".dir"):
            file, found = self._find(output.md5, base or b"file")
            return Item(name, experiment, tag, output.md5, found.size, found.time, Files([file], single=True))
        listing, found = self._find(output.md5, b"")
        files = [self.find(md5, path) for path, md5 in read_listing(listing)]
        return Item(name, experiment, tag, output.md5, found.size, found.time, Files(files))


def read_listing(listing: RemoteFile) -> list[tuple[bytes, str]]:
    """Paths and MD5s of the files of a folder. Raises CorruptError."""
    with listing.origin.open(listing.name) as file:
        data = file.read(LIMIT + 1)
    if len(data) > LIMIT or hashlib.md5(data, usedforsecurity=False).hexdigest() != listing.md5:
        raise CorruptError(f"{listing.name} is not what its MD5 says: it is damaged")
    with document.reading(f"{listing.name} is no list of files"):
        rows = [document.mapping(row) for row in document.listing(json.loads(data))]
        found = [(document.text(row["relpath"]).encode(), document.text(row["md5"])) for row in rows]
        if not all(MD5.fullmatch(md5) for _, md5 in found):
            raise ValueError("an MD5 is none")
        return found


def is_project(origin: Origin) -> bool:
    """Whether a folder is a project."""
    return origin.folder is not None and (
        (origin.folder / ".dvc").is_dir() or any(name.endswith(".dvc") for name in origin.names())
    )


def is_remote(names: Sequence[str], origin: Origin) -> bool:
    """Whether a place with these names is a remote."""
    if "files" in names and "md5" in origin.names("files/"):
        return True
    return bool(names) and all(re.fullmatch("[0-9a-f]{2}", name) for name in names)


def find_project(origin: Origin, experiment: str | None, remote: str | None, open_origin: Open) -> Iterator[Item]:
    """The outputs of a project, each an artifact called by its path."""
    folder = origin.folder
    if folder is None:
        raise UsageError(f"{origin.url} is no folder of this machine, where a DVC project is: name its remote")
    objects = Objects(_places(folder, remote, open_origin))
    name = experiment or usable_name(folder.absolute().name)
    taken: set[str] = set()
    for where, read in _outputs(origin):
        if isinstance(read, str):
            yield Item(where, name, "", problem=read, broken=True)
            continue
        tag = usable_name(read.path, taken)
        taken.add(tag)
        if not read.md5:
            yield Item(f"{where}: {read.path}", name, tag, problem="has no MD5: it is not cached, or lies elsewhere")
            continue
        try:
            yield objects.item(f"{where}: {read.path}", read, name, tag)
        except (NotFoundError, CorruptError) as error:
            yield Item(f"{where}: {read.path}", name, tag, problem=str(error), broken=True)


def find_remote(origin: Origin, experiment: str | None) -> Iterator[Item]:
    """The folders of a bare remote, and the files that are in none, called by their MD5."""
    if experiment is None:
        raise UsageError(f"{origin.url} is a DVC remote, which has no names: write EXP, or import the project")
    objects = Objects([origin])
    found = [f"{match['first']}{match['rest']}" for one in origin.list() if (match := OBJECT.fullmatch(one.name))]
    inside: set[str] = set()
    for md5 in (one for one in found if one.endswith(".dir")):
        tag = md5.removesuffix(".dir")[:12]
        try:
            inside.update(one for _, one in read_listing(objects.find(md5, b"")))
            yield objects.item(md5, Output("", md5), experiment, tag)
        except (NotFoundError, CorruptError) as error:
            yield Item(md5, experiment, tag, problem=str(error), broken=True)
    for md5 in (one for one in found if not one.endswith(".dir") and one not in inside):
        yield objects.item(md5, Output(md5, md5), experiment, md5[:12])


def _outputs(origin: Origin) -> Iterator[tuple[str, Output | str]]:
    """Where each output is named, and what it is, or what is wrong with it."""
    names = [one.name for one in origin.list() if _is_dvc(one.name)]
    for name in names:
        try:
            yield from ((name, output) for output in _read_outputs(origin, name))
        except StudioError as error:
            yield name, str(error)


def _is_dvc(name: str) -> bool:
    last = name.rpartition("/")[2]
    return not name.startswith((".dvc/", ".git/")) and (
        last == "dvc.lock" or (last.endswith(".dvc") and last != ".dvc")
    )


def _read_outputs(origin: Origin, name: str) -> list[Output]:
    import yaml

    with origin.open(name) as file:
        data = file.read(TEXT_LIMIT)
    folder = name.rpartition("/")[0]
    with document.reading(f"{name} cannot be read"):
        try:
            parsed = document.mapping(yaml.safe_load(data))
        except yaml.YAMLError as error:
            raise ValueError("it is no YAML") from error
        if not name.endswith("dvc.lock"):
            return _outs(parsed.get("outs"), str(Path(folder, document.text(parsed.get("wdir", ".")))))
        stages = document.mapping(parsed.get("stages", parsed if "schema" not in parsed else {}))
        return [output for stage in stages.values() for output in _outs(document.mapping(stage).get("outs"), folder)]


def _outs(rows: Any, folder: str) -> list[Output]:
    found = []
    for row in document.listing(rows or []):
        out = document.mapping(row)
        md5 = out.get("md5")
        path = str(Path(folder, document.text(out["path"])))
        found.append(Output(path, md5 if isinstance(md5, str) else ""))
    return found


def _places(folder: Path, remote: str | None, open_origin: Open) -> list[Origin]:
    """The cache of a project, and its remote: the one that was named, or its default one."""
    config = configparser.ConfigParser(interpolation=None, strict=False)
    config.read([folder / ".dvc" / "config", folder / ".dvc" / "config.local"], encoding="utf-8")
    base = folder / ".dvc"
    places: list[Origin] = [FolderOrigin(base / config.get("cache", "dir", fallback="cache"))]
    url = remote
    if url is None and (name := config.get("core", "remote", fallback=None)):
        url = config.get(f"'remote \"{name}\"'", "url", fallback=None)
        if url is not None and "://" not in url:
            url = str(base / url)
    if url is not None:
        places.append(open_origin(url))
    return places
