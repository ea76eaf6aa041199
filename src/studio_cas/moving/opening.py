"""From what a person types to what is imported: where it lies, how it is laid out, and what it is to be called."""

from __future__ import annotations

import enum
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Self

from studio_cas.backends.tilde import expanded
from studio_cas.config.opening import backend_of
from studio_cas.config.storage import storage_beside
from studio_cas.errors import NotFoundError, UsageError
from studio_cas.formats import keys
from studio_cas.moving import layout_dvc, layout_plain, layout_studioml
from studio_cas.moving.layout_studioml import Records
from studio_cas.moving.sources import BucketOrigin, FolderOrigin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from studio_cas.config import Config
    from studio_cas.moving.items import Item
    from studio_cas.moving.layout_studioml import StudioMLExperiment
    from studio_cas.moving.sources import Origin


class Layout(enum.StrEnum):
    """How a source is laid out."""

    studioml = "studioml"
    dvc = "dvc"
    plain = "plain"


@dataclass(frozen=True, slots=True)
class Naming:
    """What was typed: what the artifacts are to be called, and which experiments of StudioML are wanted."""

    experiment: str | None = None
    tag: str | None = None
    only: str | None = None


class ImportSource:
    """An open source. `layout` is the one that was asked for, or that it looks like. Use as a context manager."""

    def __init__(self, where: str, config: Config, credentials: Path | None, layout: Layout | None) -> None:
        self._config = config
        self._credentials = credentials
        self._opened = ExitStack()
        self._archive: str | None = None
        self.origin = self._open(where)
        self.layout = layout or self._guess()

    def _open(self, where: str) -> Origin:
        folder, name = where.rstrip("/").rpartition("/")[::2]
        if "://" in where:
            if layout_plain.ARCHIVE.fullmatch(name) and not folder.endswith("/"):
                self._archive = name
                return self.place(folder)
            return self.place(where)
        path = Path(expanded(where)).absolute()
        if path.is_file():
            path = path.resolve()  # whoever names a link means the file
            self._archive = path.name
            return FolderOrigin(path.parent)
        if not path.is_dir():
            raise NotFoundError(f"there is no file or folder {path}: check the path")
        return FolderOrigin(path)

    def place(self, where: str) -> Origin:
        """A folder or a bucket, closed with this."""
        storage = storage_beside(where, self._config.storage, self._credentials)
        if storage.folder is not None:
            return FolderOrigin(storage.folder)
        origin = BucketOrigin(backend_of(storage))
        self._opened.callback(origin.close)
        return origin

    def _guess(self) -> Layout:
        if self._archive is not None:
            return Layout.plain
        names = self.origin.names()
        if not names:
            raise NotFoundError(f"there is nothing in {self.origin.url}")
        if keys.FORMAT in names and "versions" in names:
            raise UsageError(
                f"{self.origin.url} is a store already: use it with --store, or studio copy its experiments"
            )
        if layout_dvc.is_project(self.origin) or layout_dvc.is_remote(names, self.origin):
            return Layout.dvc
        return Layout.studioml if layout_studioml.is_studioml(names, self.origin) else Layout.plain

    def items(self, naming: Naming, remote: str | None) -> Iterator[Item]:
        """What is to be imported, but from StudioML. Raises UsageError, NotFoundError."""
        if self._archive is not None:
            if naming.experiment is None:
                raise UsageError(f"what is {self._archive} to be called? write EXP/TAG after it")
            return iter(layout_plain.single_archive(self.origin, self._archive, naming.experiment, naming.tag))
        if self.layout is Layout.plain:
            return layout_plain.find_plain(self.origin, naming.experiment, naming.tag)
        if naming.tag is not None:
            raise UsageError("DVC has many artifacts, each called by its path: write EXP, without a tag")
        if layout_dvc.is_project(self.origin):
            return layout_dvc.find_project(self.origin, naming.experiment, remote, self.place)
        return layout_dvc.find_remote(self.origin, naming.experiment)

    def experiments(self, naming: Naming, records: str | None) -> Iterator[StudioMLExperiment]:
        """The experiments of StudioML. Raises UsageError."""
        if naming.experiment is not None:
            raise UsageError("experiments of StudioML keep their names: leave EXP out, or choose some with --only")

        def wanted(key: str) -> bool:
            return naming.only is None or fnmatchcase(key, naming.only)

        return layout_studioml.find_experiments(self.origin, self._records(records), wanted)

    def _records(self, where: str | None) -> Records:
        if where is None:
            return Records(self.origin)
        path = Path(expanded(where)).absolute()
        if "://" not in where and path.is_file():
            return Records.of_document(FolderOrigin(path.parent), path.name)
        return Records(self.place(where))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()
