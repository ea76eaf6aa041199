"""A file that is not what the scan saw: what is read of it nevertheless."""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from studio_cas.store.ingest import Ingest
from studio_cas.worktree.reading import Content, Failure, FileReader
from studio_cas.worktree.scan import scan


@pytest.fixture
def read(store, work):
    """Scan the folder, let something happen to it, and read one file as it was seen."""
    root = os.open(work, os.O_RDONLY)

    def read(path, happens):
        rows = {row.path: row for row in scan(root, None, set(), lambda path, why: pytest.fail(f"{path}: {why}"))}
        happens()
        with (
            closing(Ingest(store, lambda _: False)) as ingest,
            closing(FileReader(root, store.config, ingest, lambda _: None)) as reader,
        ):
            return reader.read(rows[path], None)

    yield read
    os.close(root)


@pytest.mark.parametrize("name", ["file", "file.log"])
def test_a_folder_that_became_a_link_to_another_place_is_not_read_through_it(work, tmp_path, read, name):
    for folder in (work / "sub" / "deep", tmp_path / "outside" / "deep"):
        folder.mkdir(parents=True)
        (folder / name).write_bytes(os.fsencode(folder.parent.name) * 1000)

    def happens():
        (work / "sub").rename(tmp_path / "away")
        (work / "sub").symlink_to(tmp_path / "outside")

    assert read(b"sub/deep/" + os.fsencode(name), happens) is Failure.UNSTEADY


def test_a_file_that_another_one_replaced_is_read_as_it_is_now(work, read):
    (work / "sub").mkdir(parents=True, exist_ok=True)
    (work / "sub" / "file").write_bytes(b"before")

    def happens():
        (work / "new").write_bytes(b"after that")
        (work / "new").rename(work / "sub" / "file")

    content = read(b"sub/file", happens)
    assert isinstance(content, Content)
    assert content.literal == b"after that"
