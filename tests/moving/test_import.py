"""Imports: what StudioML, DVC, and people who make archives left becomes experiments and artifacts."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from tests.reliability.folders import snapshot

from studio_cas.config import load_config
from studio_cas.errors import ConflictError, NotFoundError, StoreUnavailableError, TransientError, UsageError
from studio_cas.experiment import records
from studio_cas.moving.import_journal import open_journal
from studio_cas.moving.importing import Import
from studio_cas.moving.opening import ImportSource, Layout, Naming
from studio_cas.moving.unpack_tree import Rules
from studio_cas.progress import Silent
from studio_cas.store import versions
from studio_cas.store.store import open_store
from studio_cas.worktree.materialise import materialise

SECRET = "canary-of-a-secret"


def tarred(path: Path, **members: bytes | None) -> Path:
    """A tar at `path`; `__` in a name is a dot or a slash, None a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = {".gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2", ".xz": "w:xz"}.get(path.name[-3:], "w:")
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            info.size = len(content or b"")
            tar.addfile(info, io.BytesIO(content or b""))
    return path


class Imports:
    """One store, and imports into it."""

    def __init__(self, store, tmp_path) -> None:
        self.store = store
        self.out = tmp_path / "out"
        self.config = load_config(home=tmp_path / "home", environ={"STUDIOML_USER": "me"})
        self.count = 0

    def run(self, source, name="", layout=None, remote=None, records=None, only=None, **options):
        """Import, and what became of each item, by name."""
        experiment, _, tag = name.partition("/")
        naming = Naming(experiment or None, tag or None, only)
        found = []
        with (
            ImportSource(str(source), self.config, None, layout) as opened,
            open_journal(self.store, opened.origin.url) as journal,
        ):
            work = Import(self.store, journal, "me", Silent, found.append, **options)
            if opened.layout is Layout.studioml:
                for one in opened.experiments(naming, records):
                    work.experiment(one)
            else:
                work.items(opened.items(naming, remote))
        assert not list((self.store.home / "imports").glob("*.staging"))
        return {one.item.name: one for one in found}

    def content(self, name):
        """What an artifact holds."""
        self.count += 1
        where = self.out / str(self.count)
        materialise(self.store, versions.resolve(self.store, name), where, links="allow")
        return snapshot(where) if where.is_dir() else where.read_bytes()


@pytest.fixture
def imports(store, tmp_path):
    return Imports(store, tmp_path)


def states(found) -> dict[str, str]:
    return {name: one.state for name, one in found.items()}


def file_row(content: bytes):
    return ("file", False, content)


# --- the original StudioML ------------------------------------------------------------------------------------------


RECORD = {
    "key": "exp_1",
    "filename": "train.py",
    "args": ["--lr", "0.1"],
    "pythonenv": ["numpy==1.16.0", "garbage"],
    "pythonver": "3.6",
    "project": "mine",
    "status": "finished",
    "time_added": 1_500_000_000.5,
    "time_started": 1_500_000_010.0,
    "time_finished": 1_500_000_100.0,
    "owner": "ann",
    "git": {"commit": "abc123", "clean": False},
    "metric": "val_loss",
    "artifacts": {
        "workspace": {"local": "/home/ann/work", "mutable": True, "key": "experiments/exp_1/workspace.tar"},
        "output": {"local": "/home/ann/.studioml/output", "mutable": True, "key": "experiments/exp_1/output.tar"},
        "_metrics": {"mutable": True, "key": "experiments/exp_1/_metrics.tar"},
        "data": {"mutable": False, "key": "blobstore/" + "ab" * 32 + ".tar.gz", "local": "/home/ann/data"},
        "web": {"mutable": False, "url": "https://example.org/data.csv", "credentials": {"aws": {"k": SECRET}}},
        "lost": {"mutable": False, "key": "blobstore/" + "cd" * 32 + ".tar"},
        "outside": {"mutable": False, "key": "../../secret.tar"},
    },
}


@pytest.fixture
def studioml(tmp_path):
    """A local storage folder, and the folder of its database beside it."""
    root = tmp_path / "studioml-storage"
    folder = root / "experiments" / "exp_1"
    tarred(folder / "workspace.tar", **{"train.py": b"print(1)", "sub": None, "sub__a": b"a"})
    tarred(folder / "output.tar", **{".__output": b"hello\n"})
    tarred(folder / "_metrics.tar.bz2", m=b"1").rename(folder / "_metrics.tar")  # called what it is not
    tarred(root / "blobstore" / ("ab" * 32 + ".tar.gz"), data=None, data__x=b"x")  # as early versions did
    tarred(root / "experiments" / "exp_2" / "modeldir.tgz", **{".": None, ".__w": b"weights"})
    tarred(tmp_path / "secret.tar", secret=b"of this machine")
    database = tmp_path / "studioml-meta" / "experiments"
    database.mkdir(parents=True)
    (database / "exp_1").write_text(json.dumps(RECORD))
    return root


def test_a_bucket_of_studioml_becomes_experiments(imports, studioml):
    found = imports.run(studioml, records=str(studioml.parent / "studioml-meta"))
    assert {name: state for name, state in states(found).items() if state != "imported"} == {
        "experiments/exp_1: web": "skipped",
        "blobstore/" + "cd" * 32 + ".tar": "failed",
        "../../secret.tar": "failed",
    }
    assert "https://example.org" in found["experiments/exp_1: web"].reason
    assert imports.content("exp_1/workspace") == {
        b"train.py": file_row(b"print(1)"),
        b"sub": ("folder",),
        b"sub/a": file_row(b"a"),
    }
    assert imports.content("exp_1/output") == b"hello\n"
    assert imports.content("exp_1/metrics") == {b"m": file_row(b"1")}
    assert imports.content("exp_1/data") == {b"x": file_row(b"x")}
    assert imports.content("exp_2/modeldir") == {b"w": file_row(b"weights")}


def test_its_record_becomes_a_run(imports, studioml):
    imports.run(studioml, records=str(studioml.parent / "studioml-meta"))
    attempt = records.read_attempt(imports.store.backend, "exp_1", 1, 0)
    created, started, ended = attempt.created, attempt.started, attempt.ended
    assert created.command == ("python", "train.py", "--lr", "0.1")
    assert (created.user, created.time, created.folder) == ("ann", 1_500_000_000.5, "/home/ann/work")
    assert {one.tag for one in created.artifacts} == {
        "workspace",
        "output",
        "metrics",
        "data",
        "web",
        "lost",
        "outside",
    }
    assert started is not None
    assert (started.python_version, started.packages, started.time) == ("3.6", {"numpy": "1.16.0"}, 1_500_000_010.0)
    assert started.git is not None
    assert (started.git.commit, started.git.dirty) == ("abc123", True)
    assert ended is not None
    assert (ended.status, ended.time, ended.versions["workspace"]) == ("finished", 1_500_000_100.0, (1, 1))
    kept = json.loads(imports.content("exp_1/studioml"))
    assert kept["metric"] == "val_loss"
    assert "credentials" not in kept["artifacts"]["web"]
    assert records.list_attempts(imports.store.backend, "exp_2") == []


def test_no_secret_of_a_record_gets_into_the_store(imports, studioml):
    imports.run(studioml, records=str(studioml.parent / "studioml-meta"), compression=False)
    for found in imports.store.backend.list(""):
        assert SECRET.encode() not in bytes(imports.store.backend.read(found.key))


def test_an_export_of_the_database_serves_as_well(imports, studioml, tmp_path):
    (tmp_path / "export.json").write_text(json.dumps({"experiments": {"exp_1": RECORD}, "users": {}}))
    imports.run(studioml, records=str(tmp_path / "export.json"), only="exp_1")
    assert records.list_attempts(imports.store.backend, "exp_1") == [1]
    assert versions.list_experiments(imports.store) == ["exp_1"]


def test_a_second_import_reads_nothing_and_a_changed_archive_makes_a_version(imports, studioml):
    meta = str(studioml.parent / "studioml-meta")
    first = imports.run(studioml, records=meta)
    shutil.move(studioml / "experiments" / "exp_2" / "modeldir.tgz", studioml / "aside.tgz")
    tarred(studioml / "experiments" / "exp_2" / "modeldir.tgz", **{".": None, ".__w": b"better"})
    again = imports.run(studioml, records=meta)
    changed = {name: state for name, state in states(again).items() if state != states(first)[name]}
    assert changed.pop("experiments/exp_1") == "there"
    assert set(changed.values()) == {"there"}
    assert again["experiments/exp_2/modeldir.tgz"].number == 2
    assert imports.content("exp_2/modeldir@1") == {b"w": file_row(b"weights")}
    assert records.list_attempts(imports.store.backend, "exp_1") == [1]


def test_links_and_strange_files_in_a_source_are_named_and_not_followed(imports, studioml):
    folder = studioml / "experiments" / "exp_1"
    (folder / "linked.tar").symlink_to(studioml.parent / "secret.tar")
    (folder / "notes").write_text("no archive")
    os.mkfifo(folder / "pipe.tar")
    found = imports.run(studioml)
    assert {Path(name).name for name, one in found.items() if one.state == "skipped"} == {
        "linked.tar",
        "notes",
        "pipe.tar",
    }
    assert "lies outside" in found["experiments/exp_1/linked.tar"].reason
    assert imports.content("exp_1/output") is not None


def test_a_link_in_place_of_the_folder_of_an_archive_is_not_followed(imports, studioml):
    info = tarfile.TarInfo("odd")
    info.type, info.linkname = tarfile.SYMTYPE, str(studioml.parent)
    with tarfile.open(studioml / "experiments" / "exp_2" / "odd.tar", "w") as tar:
        tar.addfile(info)
    imports.run(studioml, rules=Rules(links="allow"))
    assert imports.content("exp_2/odd") == {b"odd": ("link", os.fsencode(studioml.parent))}


@pytest.mark.parametrize("record", ["", "[]", "{", '{"artifacts": 3, "args": 7, "time_added": "x"}', '{"git": []}'])
def test_a_record_that_makes_no_sense_harms_nothing(imports, studioml, record):
    meta = studioml.parent / "studioml-meta"
    (meta / "experiments" / "exp_1").write_text(record)
    found = imports.run(studioml, records=str(meta))
    assert found["experiments/exp_1/workspace.tar"].state == "imported"


# --- DVC ------------------------------------------------------------------------------------------------------------


def put(root: Path, content: bytes, suffix: str = "", *, old: bool = False, name: bytes | None = None) -> str:
    """An object in a cache or remote; its MD5."""
    md5 = hashlib.md5(content if name is None else name).hexdigest()
    place = (root if old else root / "files" / "md5") / md5[:2] / (md5[2:] + suffix)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return md5 + suffix


@pytest.fixture
def dvc(tmp_path):
    """A project: a file in the cache, a folder in the remote, stages in dvc.lock, and one object that is gone."""
    project, remote = tmp_path / "project", tmp_path / "remote"
    cache = project / ".dvc" / "cache"
    model = put(cache, b"weights")
    listing = json.dumps(
        [
            {"md5": put(remote, b"one"), "relpath": "1.txt"},
            {"md5": put(remote, b"a\nb\n", old=True), "relpath": "sub/2.txt"},
            {"md5": put(remote, b"a\r\nc\r\n", old=True, name=b"a\nc\n"), "relpath": "dos.txt"},
        ]
    ).encode()
    folder = put(remote, listing, ".dir")
    (project / "data").mkdir()
    (project / "model.pt.dvc").write_text(f"outs:\n- md5: {model}\n  path: model.pt\n  size: 7\n")
    (project / "data" / "images.dvc").write_text(f"outs:\n- md5: {folder}\n  path: images\n")
    (project / "gone.dvc").write_text(f"outs:\n- md5: '{'0' * 32}'\n  path: gone\n- path: big\n  cache: false\n")
    (project / "odd.dvc").write_text("outs: [\n")
    lock = f"schema: '2.0'\nstages:\n  train:\n    cmd: x\n    outs:\n    - path: out.pt\n      md5: {model}\n"
    (project / "dvc.lock").write_text(lock)
    (project / ".dvc" / "config").write_text("[core]\n    remote = near\n['remote \"near\"']\n    url = ../../remote\n")
    return project


def test_a_dvc_project_becomes_artifacts(imports, dvc):
    found = imports.run(dvc)
    assert states(found) == {
        "data/images.dvc: data/images": "imported",
        "dvc.lock: out.pt": "imported",
        "gone.dvc: big": "skipped",
        "gone.dvc: gone": "failed",
        "model.pt.dvc: model.pt": "imported",
        "odd.dvc": "failed",
    }
    assert "0" * 32 in found["gone.dvc: gone"].reason
    assert imports.content("project/model.pt") == b"weights"
    assert imports.content("project/data-images") == {
        b"1.txt": file_row(b"one"),
        b"sub": ("folder",),
        b"sub/2.txt": file_row(b"a\nb\n"),
        b"dos.txt": file_row(b"a\r\nc\r\n"),
    }
    assert set(states(imports.run(dvc)).values()) == {"there", "failed", "skipped"}


def test_an_object_that_is_not_its_md5_is_not_imported(imports, dvc):
    for path in (dvc / ".dvc" / "cache").rglob("*"):
        if path.is_file():
            path.write_bytes(b"weightz")
    found = imports.run(dvc, "mine")
    assert "damaged" in found["model.pt.dvc: model.pt"].reason
    assert versions.latest(imports.store, "mine", "model.pt") is None
    assert versions.latest(imports.store, "mine", "data-images") is not None


def test_a_bare_remote_needs_a_name_and_gives_folders_and_lone_files(imports, dvc):
    remote = dvc.parent / "remote"
    alone = put(remote, b"alone")
    with pytest.raises(UsageError, match="EXP"):
        imports.run(remote)
    found = imports.run(remote, "exp")
    assert set(states(found).values()) == {"imported"}
    assert len(found) == 2
    assert imports.content(f"exp/{alone[:12]}") == b"alone"


@pytest.mark.parametrize("path", ["../out", "/etc/passwd", "a/../../out"])
def test_a_list_that_names_a_path_outside_is_refused(imports, tmp_path, path):
    remote = tmp_path / "remote"
    put(remote, json.dumps([{"md5": put(remote, b"x"), "relpath": path}]).encode(), ".dir")
    found = imports.run(remote, "exp")
    assert [one.state for one in found.values()] == ["failed"]
    assert "unsafe" in next(iter(found.values())).reason


# --- archives and folders -------------------------------------------------------------------------------------------


def test_archives_and_folders_become_artifacts_of_one_experiment(imports, tmp_path):
    source = tmp_path / "source"
    tarred(source / "a.tar.gz", x=b"1")
    tarred(source / "a.tar", x=b"2")
    (source / "my folder").mkdir()
    (source / "my folder" / ".studioml_ignore").write_text("*.txt\n")
    (source / "my folder" / "kept.txt").write_text("kept")
    (source / "notes.txt").write_text("no archive")
    found = imports.run(source, "exp")
    assert states(found) == {
        "a.tar": "imported",
        "a.tar.gz": "imported",
        "my folder/": "imported",
        "notes.txt": "skipped",
    }
    assert imports.content("exp/a") == {b"x": file_row(b"2")}
    assert imports.content("exp/a-2") == {b"x": file_row(b"1")}
    assert b"kept.txt" in imports.content("exp/my-folder")


def test_without_a_name_folders_name_experiments(imports, tmp_path):
    source = tmp_path / "source"
    tarred(source / "run 1" / "weights.tar", w=b"1")
    tarred(source / "run-2" / "weights.tar", w=b"2")
    tarred(source / "loose.tar", w=b"3")
    assert states(imports.run(source)) == {
        "run 1/weights.tar": "imported",
        "run-2/weights.tar": "imported",
        "loose.tar": "skipped",
    }
    assert versions.list_experiments(imports.store) == ["run-1", "run-2"]
    only = tmp_path / "only"
    tarred(only / "w.tar", w=b"1")
    with pytest.raises(UsageError, match="EXP"):
        imports.run(only)


def test_a_single_archive_or_folder_takes_the_name_that_is_given(imports, tmp_path):
    archive = tarred(tmp_path / "in" / "weights.tar.xz", w=b"1")
    assert imports.run(archive, "exp/w")["weights.tar.xz"].number == 1
    assert imports.run(archive, "exp")["weights.tar.xz"].item.tag == "weights"
    assert imports.run(tmp_path / "in", "exp/folder")["."].state == "imported"
    assert list(imports.content("exp/folder")) == [b"weights.tar.xz"]
    with pytest.raises(UsageError, match="called"):
        imports.run(archive)
    with pytest.raises(NotFoundError):
        imports.run(tmp_path / "nothing", "exp")


def test_times_of_the_source_are_those_of_versions(imports, tmp_path):
    archive = tarred(tmp_path / "w.tar", w=b"1")
    os.utime(archive, (1_400_000_000, 1_400_000_000))
    imports.run(archive, "exp/w")
    assert versions.resolve(imports.store, "exp/w").time == 1_400_000_000


@pytest.mark.parametrize(("moment", "expected"), [(-1_000_000, 0), (2**33, None)])
def test_times_that_cannot_be_are_the_nearest(imports, tmp_path, moment, expected):
    archive = tarred(tmp_path / "w.tar", w=b"1")
    os.utime(archive, (moment, moment))
    imports.run(archive, "exp/w")
    found = versions.resolve(imports.store, "exp/w").time
    assert found == expected if expected is not None else found < 2**33


def test_a_link_that_is_named_is_the_archive_and_one_in_a_folder_is_not_followed(imports, tmp_path):
    archive = tarred(tmp_path / "w.tar", w=b"1")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "linked.tar").symlink_to(archive)
    assert imports.run(tmp_path / "in" / "linked.tar", "exp/w")["w.tar"].state == "imported"
    assert "lies outside" in imports.run(tmp_path / "in", "exp")["linked.tar"].reason


def test_a_dry_run_changes_nothing(imports, studioml):
    before = [found.key for found in imports.store.backend.list("")]
    found = imports.run(studioml, dry_run=True)
    assert found["experiments/exp_1/workspace.tar"].state == "found"
    assert [one.key for one in imports.store.backend.list("")] == before


def test_what_is_unsafe_is_passed_over_and_the_rest_is_imported(imports, tmp_path):
    source = tmp_path / "source"
    tarred(source / "bad.tar", **{"..__out": b"x"})
    tarred(source / "good.tar", x=b"x")
    (source / "torn.tar").write_bytes((source / "good.tar").read_bytes()[:700])
    tarred(source / "zeros.tar.gz", zeros=bytes(2_000_000))
    found = imports.run(source, "exp", rules=Rules(size=1_000_000))
    assert states(found) == {
        "bad.tar": "failed",
        "good.tar": "imported",
        "torn.tar": "failed",
        "zeros.tar.gz": "failed",
    }
    assert "--max-size" in found["zeros.tar.gz"].reason
    assert versions.list_tags(imports.store, "exp") == ["good"]
    assert not (tmp_path / "out").exists()


def test_an_import_that_was_interrupted_goes_on(imports, tmp_path, monkeypatch):
    source = tmp_path / "source"
    for number in range(4):
        tarred(source / f"{number}.tar", x=b"%d" % number)
    from studio_cas.moving import importing

    real, calls = importing.capture, []

    def failing(*arguments, **options):
        calls.append(arguments[3])
        if len(calls) == 3:
            raise TransientError("the network is gone")
        return real(*arguments, **options)

    monkeypatch.setattr(importing, "capture", failing)
    with pytest.raises(StoreUnavailableError):
        imports.run(source, "exp")
    assert list(states(imports.run(source, "exp")).values()) == ["there", "there", "imported", "imported"]
    assert calls == ["0", "1", "2", "2", "3"]


def test_a_journal_that_was_torn_or_lost_makes_no_second_version(imports, tmp_path):
    archive = tarred(tmp_path / "w.tar", w=b"1")
    imports.run(archive, "exp/w")
    (journal,) = (imports.store.home / "imports").glob("*.jsonl")
    journal.write_bytes(journal.read_bytes()[:20])
    assert imports.run(archive, "exp/w")["w.tar"].state == "there"
    assert versions.resolve(imports.store, "exp/w").number == 1


@pytest.mark.own_store
def test_a_version_that_was_removed_is_imported_again(imports, tmp_path):
    archive = tarred(tmp_path / "w.tar", w=b"1")
    imports.run(archive, "exp/w")
    for found in list(imports.store.backend.list("versions/")):
        imports.store.backend.delete(found.key)
    assert imports.run(archive, "exp/w")["w.tar"].state == "imported"


def test_two_imports_from_one_source_do_not_meet(imports, tmp_path):
    archive = tarred(tmp_path / "w.tar", w=b"1")
    with open_journal(imports.store, str(tmp_path)), pytest.raises(ConflictError, match="under way"):
        imports.run(archive, "exp/w")


@pytest.mark.own_store
def test_a_store_is_no_source(imports, tmp_path):
    with open_store(tmp_path / "other", home=tmp_path / "home") as other:
        other.backend.create("versions/exp/w/0000000000000001", [b"{}"])
    with pytest.raises(UsageError, match="studio copy"):
        imports.run(tmp_path / "other")
