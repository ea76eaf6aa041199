"""Plain sources: an archive, or a folder of archives and folders, which say by their names what they are to be called.

With an experiment: each archive or folder is an artifact of it. Without one: each folder is an experiment, and what is
in it are its artifacts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from studio_cas.errors import NotFoundError, UsageError
from studio_cas.moving.items import Archive, Files, Item, LocalFolder, RemoteFile, usable_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from studio_cas.moving.sources import Found, Origin

ARCHIVE = re.compile(r"(?P<stem>.+?)\.(?:tar(?:\.\w{1,5})?|tgz|tbz2?|txz|tzst|taz|zip)", re.IGNORECASE)
NO_ARCHIVE = "is neither an archive nor a folder, by its name"


def single_archive(origin: Origin, name: str, experiment: str, tag: str | None) -> list[Item]:
    """One archive."""
    match = ARCHIVE.fullmatch(name)
    return [_archive(origin, origin.find(name), experiment, tag or usable_name(match["stem"] if match else name))]


def find_plain(origin: Origin, experiment: str | None, tag: str | None) -> Iterator[Item]:
    """The artifacts in a folder or bucket. Raises UsageError."""
    if tag is not None and experiment is not None:
        yield _folder(origin, "", experiment, tag)
        return
    names = origin.names()
    if experiment is not None:
        yield from _artifacts(origin, "", names, experiment)
        return
    if not any(_is_folder(origin, name) for name in names):
        raise UsageError(f"{origin.url} has no folders, which would name experiments: write EXP, or EXP/TAG")
    taken: set[str] = set()
    for name in names:
        if not _is_folder(origin, name):
            yield Item(name, "", "", problem="lies beside folders that name experiments: write EXP to import it")
            continue
        made = usable_name(name, taken)
        taken.add(made)
        yield from _artifacts(origin, f"{name}/", origin.names(f"{name}/"), made)


def _is_folder(origin: Origin, name: str) -> bool:
    if origin.folder is not None:
        path = origin.folder / name
        return path.is_dir() and not path.is_symlink()
    return next(iter(origin.names(f"{name}/")), None) is not None


def _artifacts(origin: Origin, prefix: str, names: list[str], experiment: str) -> Iterator[Item]:
    taken: set[str] = set()
    for name in names:
        folder = _is_folder(origin, f"{prefix}{name}")
        match = None if folder else ARCHIVE.fullmatch(name)
        if not folder and match is None:
            yield Item(f"{prefix}{name}", experiment, "", problem=NO_ARCHIVE)
            continue
        tag = usable_name(match["stem"] if match else name, taken)
        taken.add(tag)
        if folder:
            yield _folder(origin, f"{prefix}{name}/", experiment, tag)
            continue
        try:
            yield _archive(origin, origin.find(f"{prefix}{name}"), experiment, tag)
        except NotFoundError as error:  # a link that leads outside, a pipe, or gone by now
            yield Item(f"{prefix}{name}", experiment, tag, problem=str(error), broken=True)


def _archive(origin: Origin, found: Found, experiment: str, tag: str) -> Item:
    content = Archive(origin, found.name)
    return Item(found.name, experiment, tag, found.stamp, found.size, found.time, content)


def _folder(origin: Origin, prefix: str, experiment: str, tag: str) -> Item:
    name = prefix or "."
    if origin.folder is not None:  # what is unchanged in it is not read again by the capture
        return Item(name, experiment, tag, content=LocalFolder(origin.folder / prefix))
    found = list(origin.list(prefix))
    files = [RemoteFile(origin, one.name, one.name[len(prefix) :].encode()) for one in found]
    if not files:
        return Item(name, experiment, tag, problem="is empty")
    stamp = f"{len(found)}-{sum(one.size for one in found)}-{max(one.time for one in found):.6f}"
    size = sum(one.size for one in found)
    return Item(name, experiment, tag, stamp, size, max(one.time for one in found), Files(files))
