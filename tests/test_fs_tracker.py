"""What a script asks, inside and outside of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from studio import fs_tracker
from studio_cas.errors import NotFoundError, UsageError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("STUDIOML_EXPERIMENT", "STUDIOML_ARTIFACT_MAPPING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STUDIOML_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def run(monkeypatch):
    mapping = {"weights": "/data/weights", "modeldir": "/data/models", "odd": "/data/\udcff"}
    monkeypatch.setenv("STUDIOML_EXPERIMENT", "exp")
    monkeypatch.setenv("STUDIOML_ARTIFACT_MAPPING", json.dumps(mapping))
    return mapping


def test_in_a_run_the_artifacts_are_those_of_the_run(run):
    assert fs_tracker.get_experiment_key() == "exp"
    assert fs_tracker.get_artifact("weights") == "/data/weights"
    assert fs_tracker.get_artifacts() == run
    assert fs_tracker.get_artifact_cache("weights") == "/data/weights"


def test_an_unknown_tag_is_an_error_that_names_the_known_ones(run):
    with pytest.raises(NotFoundError) as caught:
        fs_tracker.get_artifact("wieghts")
    assert str(caught.value) == (
        "this run has no artifact 'wieghts'; did you mean 'weights'?; its artifacts are: modeldir, odd, weights"
    )


def test_the_mapping_may_be_a_file_as_in_the_original(run, tmp_path, monkeypatch):
    file = tmp_path / "artifacts.json"
    file.write_text(json.dumps({"w": "/there"}))
    monkeypatch.setenv("STUDIOML_ARTIFACT_MAPPING", str(file))
    assert fs_tracker.get_artifact("w") == "/there"


@pytest.mark.parametrize("text", ["{", "/no/such/file", "{]"])
def test_a_broken_mapping_is_told(text, monkeypatch):
    monkeypatch.setenv("STUDIOML_ARTIFACT_MAPPING", text)
    with pytest.raises(UsageError, match="STUDIOML_ARTIFACT_MAPPING"):
        fs_tracker.get_artifact("w")


def test_outside_of_a_run_there_is_a_default_experiment(home):
    assert fs_tracker.get_experiment_key() == "default"
    assert fs_tracker.get_artifacts() == {}
    folder = fs_tracker.get_artifact("weights")
    assert Path(folder) == home / "experiments" / "default" / "weights"
    assert Path(folder).is_dir()
    assert fs_tracker.get_artifacts() == {"weights": folder}


def test_model_and_tensorboard_folders_exist(home):
    assert Path(fs_tracker.get_model_directory()) == home / "experiments/default/modeldir"
    assert Path(fs_tracker.get_tensorboard_dir("other")) == home / "experiments/other/tb"
    assert Path(fs_tracker.get_model_directory()).is_dir()
    assert Path(fs_tracker.get_tensorboard_dir("other")).is_dir()


def test_model_folder_of_a_run_is_the_captured_one(run, tmp_path, monkeypatch):
    monkeypatch.setenv("STUDIOML_ARTIFACT_MAPPING", json.dumps({"modeldir": str(tmp_path / "models")}))
    assert fs_tracker.get_model_directory() == str(tmp_path / "models")
    assert fs_tracker.get_model_directory("other") != str(tmp_path / "models")


def test_keys_of_the_original_are_understood(home):
    assert fs_tracker.get_artifact_cache("experiments/e/modeldir.tar.gz") == str(home / "experiments/e/modeldir")
    assert fs_tracker.get_artifact_cache("blobstore/0a1b.tar.gz") == str(home / "blobcache/0a1b")
    assert fs_tracker.get_blob_cache("0a1b") == str(home / "blobcache/0a1b")
    assert (home / "blobcache").is_dir()


@pytest.mark.parametrize("key", ["../x", "a/b", "..", ""])
def test_no_key_leaves_the_blobcache(key):
    with pytest.raises(UsageError):
        fs_tracker.get_blob_cache(key)


@pytest.mark.parametrize("tag", ["../x", "a/b", ".hidden", ""])
def test_no_tag_leaves_the_experiment(tag):
    with pytest.raises(UsageError):
        fs_tracker.get_artifact(tag)


def test_the_queue_folder_exists(home):
    assert fs_tracker.get_queue_directory() == str(home / "queue")
    assert (home / "queue").is_dir()


def test_the_home(home, monkeypatch):
    assert fs_tracker.get_studio_home() == str(home)
    monkeypatch.delenv("STUDIOML_HOME")
    assert fs_tracker.get_studio_home() == str(Path("~/.studioml").expanduser())


def test_an_experiment_can_be_set_up_by_name(home, monkeypatch):
    env = {}
    fs_tracker.setup_experiment(env, "mine")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert fs_tracker.get_experiment_key() == "mine"
    assert sorted(fs_tracker.get_artifacts()) == ["modeldir", "tb"]
    assert fs_tracker.get_artifact("modeldir") == str(home / "experiments/mine/modeldir")


def test_setting_up_empties_the_model_folder_unless_told_not_to():
    kept = Path(fs_tracker.get_model_directory("mine")) / "kept"
    kept.touch()
    fs_tracker.setup_experiment({}, "mine", clean=False)
    assert kept.exists()
    fs_tracker.setup_experiment({}, "mine")
    assert not kept.exists()


def test_an_experiment_can_be_set_up_from_an_object():
    artifacts = {"w": SimpleNamespace(local_path="/w"), "none": SimpleNamespace(local_path=None)}
    env = {}
    fs_tracker.setup_experiment(env, SimpleNamespace(key="mine", artifacts=artifacts))
    assert json.loads(env["STUDIOML_ARTIFACT_MAPPING"])["w"] == "/w"
    assert "none" not in json.loads(env["STUDIOML_ARTIFACT_MAPPING"])


def test_studio_gives_what_studio_cas_has():
    import studio
    import studio_cas

    assert studio.__name__ == "studio"
    assert studio.errors is studio_cas.errors
    with pytest.raises(AttributeError, match="module 'studio' has no attribute 'nothing'"):
        _ = studio.nothing


def test_importing_and_asking_loads_nothing_heavy(home):
    program = (
        "import sys; from studio import fs_tracker; fs_tracker.get_artifact('weights'); fs_tracker.get_artifacts();"
        "heavy = ['numpy', 'fsspec', 'gcsfs', 'aiohttp', 'typer', 'rich', 'watchdog', 'starlette', 'yaml', 'zstandard',"
        "'pathspec', 'sqlite3', 'asyncio', 'subprocess']; print([name for name in heavy if name in sys.modules])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}  # it loads sqlite3
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_latest_checkpoint_of_an_artifact(home):
    assert fs_tracker.latest_checkpoint() is None
    (Path(fs_tracker.get_model_directory()) / "epoch-1.bin").write_bytes(b"weights")
    assert fs_tracker.latest_checkpoint() == home / "experiments/default/modeldir/epoch-1.bin"
    assert fs_tracker.latest_checkpoint("other") is None


def test_an_unknown_artifact_has_no_checkpoint(run):
    with pytest.raises(NotFoundError):
        fs_tracker.latest_checkpoint("wieghts")
