"""The configuration: file, environment, options, defaults, and mistakes in them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from studio_cas.config import load_config
from studio_cas.config.durations import format_duration, parse_duration
from studio_cas.errors import ConfigError, UsageError


@pytest.fixture
def load(tmp_path):
    def load(text=None, environ=None, **arguments):
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        if text is not None:
            (home / "config.yaml").write_text(text)
        return load_config(environ={"STUDIOML_HOME": str(home), **(environ or {})}, **arguments)

    return load


def test_without_a_file_everything_has_a_default(load, tmp_path):
    config = load()
    assert config.file is None
    assert config.storage.folder == tmp_path / "home" / "store"
    assert config.save_workspace_frequency == 60
    assert config.queue == "local"
    assert config.compression is True
    assert config.default_artifacts == ("workspace", "output", "modeldir", "tb")
    assert {row.origin for row in config.settings() if row.key != "home"} == {"default"}


@pytest.mark.parametrize(
    ("storage", "url"),
    [
        ("gs://bucket/some/prefix", "gs://bucket/some/prefix"),
        ("gcs://bucket/", "gs://bucket"),
        ("s3://bucket/p", "s3://bucket/p"),
        ("/srv/store", "/srv/store"),
        ("file:///srv/my%20store", "/srv/my store"),
        ("{type: gcloud, bucket: my-bucket}", "gs://my-bucket"),
        ("{type: gcloud, bucket: gs://my-bucket/, prefix: /team/a/}", "gs://my-bucket/team/a"),
        ("{type: firebase, bucket: studio.appspot.com, apiKey: k}", "gs://studio.appspot.com"),
        ("{type: s3, bucket: b, endpoint: s3.amazonaws.com}", "s3://b"),
        ("abfs://box/p", "az://box/p"),
        ("{type: azure, account: a, bucket: box, prefix: p}", "az://box/p"),
        ("{type: local, path: /srv/store}", "/srv/store"),
        ("{type: local, endpoint: /srv, bucket: artifacts}", "/srv/artifacts"),
    ],
)
def test_storage_is_a_url_or_the_mapping_of_the_original(load, storage, url):
    assert load(f"storage: {storage}").storage.url == url


def test_a_local_type_without_a_path_is_the_default_store(load, tmp_path):
    assert load("storage: {type: local}").storage.folder == tmp_path / "home" / "store"


def test_paths_start_at_the_file_and_a_tilde_at_the_home(load, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "key.json").touch(mode=0o600)
    assert load("storage: ../there").storage.url == str(tmp_path / "there")
    storage = load(
        "storage: {type: gcloud, bucket: b, credentials: ~/key.json, project: p, endpoint: http://e}"
    ).storage
    assert (storage.credentials, storage.project, storage.endpoint) == (tmp_path / "key.json", "p", "http://e")


def test_a_script_has_a_while_to_save(load):
    assert load().grace_period == 30
    assert load("gracePeriod: 2m").grace_period == 120
    with pytest.raises(ConfigError, match=r"gracePeriod: 30 is no duration.*did you mean 30s\?"):
        load("gracePeriod: 30")
    with pytest.raises(ConfigError, match="unknown key 'grace_perod'; did you mean 'gracePeriod'"):
        load("grace_perod: 30s")


def test_what_waits_for_a_store_that_is_away_has_a_budget(load):
    assert load().offline_budget is None
    assert load("offlineBudget: 2GiB").offline_budget == 2 << 30
    assert load("offlineBudget: 5000").offline_budget == 5000
    for wrong in ("much", "[1]", "yes"):
        with pytest.raises(ConfigError, match=r"offlineBudget: .* is no size"):
            load(f"offlineBudget: {wrong}")


def test_each_value_names_its_source(load, tmp_path):
    config = load(
        "gracePeriod: 1m\nstorage: {type: gcloud, bucket: b, project: p}",
        {"STUDIOML_USER": "ben"},
        options={"queue": "gpu"},
    )
    sources = {row.key: row.source for row in config.settings() if row.source}
    file = str(tmp_path / "home" / "config.yaml")
    assert sources == {
        "home": "STUDIOML_HOME", "storage": file, "storage.project": file, "gracePeriod": file,
        "user": "STUDIOML_USER", "queue": "--queue",
    }  # fmt: skip


def test_the_option_wins_over_the_environment_and_that_over_the_file(load):
    text = "storage: gs://file\nqueue: gpu\nuser: anna\ncompression: off\nsaveWorkspaceFrequency: 30s\n"
    config = load(
        text, {"STUDIOML_STORE": "gs://environment", "STUDIOML_USER": "ben"}, options={"storage": "gs://option"}
    )
    assert config.storage.url == "gs://option"
    assert (config.user, config.queue, config.compression, config.save_workspace_frequency) == ("ben", "gpu", False, 30)
    origins = {row.key: row.origin for row in config.settings()}
    assert origins["storage"] == "option"
    assert origins["user"] == "environment"
    assert origins["queue"] == "file"
    assert origins["defaultArtifacts"] == "default"
    assert origins["home"] == "environment"


def test_credentials_of_the_file_do_not_survive_another_store(load, tmp_path):
    (tmp_path / "key.json").touch(mode=0o600)
    text = f"storage: {{type: gcloud, bucket: b, credentials: {tmp_path}/key.json}}"
    assert load(text, options={"storage": "gs://other"}).storage.credentials is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sotrage: gs://b", "unknown key 'sotrage'; did you mean 'storage'?"),
        ("save_workspace_frequency: 1m", "did you mean 'saveWorkspaceFrequency'?"),
        ("wholly_other: 1", "known keys are storage"),
        ("storage: {type: gcloud, bukcet: b}", "unknown key 'bukcet'; did you mean 'bucket'?"),
        ("storage: {type: gclod, bucket: b}", "did you mean 'gcloud'?"),
        ("storage: {bucket: b}", "has no type"),
        ("storage: {type: gcloud}", "needs a bucket"),
        ("storage: {type: gcloud, bucket: [b]}", "is not a text"),
        ("storage: 7", "neither a URL nor a mapping"),
        ("storage: ''", "is empty"),
        ("storage: gs://", "names no bucket"),
        ("storage: gcp://b", "not a known kind of store"),
        ("storage: {type: gcloud, bucket: b, credentials: /no/such/file}", "cannot be read"),
        ("saveWorkspaceFrequency: 1", "no duration: write a number and a unit, as 30s, 1m or 2h; did you mean 1s?"),
        ("saveWorkspaceFrequency: 1 fortnight", "no duration"),
        ("saveWorkspaceFrequency: 0s", "too short"),
        ("compression: maximal", "neither on nor off"),
        ("queue: [a]", "is not a name"),
        ("defaultArtifacts: workspace", "is not a list"),
        ("defaultArtifacts: [workspase]", "did you mean 'workspace'?"),
        ("- storage", "lines `key: value`"),
        ("storage: {", "line 1: this is not YAML"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(load, text, sentence):
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_user_without_a_home_is_told_to_set_one(monkeypatch, tmp_path):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)  # nobody has that number
    with pytest.raises(UsageError, match="set HOME, or STUDIOML_HOME"):
        load_config(environ={})
    assert load_config(environ={"STUDIOML_HOME": str(tmp_path)}).home == tmp_path


def test_keys_of_the_original_that_mean_nothing_here_are_named(load):
    config = load("database: {type: http}\nverbose: error\nqueue: local\n")
    assert config.unused == ("database", "verbose")


def test_an_empty_file_is_a_configuration(load):
    assert load("").queue == "local"


def test_default_artifacts_can_be_chosen(load):
    assert load("defaultArtifacts: [output, workspace]").default_artifacts == ("workspace", "output")


@pytest.mark.parametrize("word", ["off", "'off'", "no", "false"])
def test_compression_can_be_switched_off(load, word):
    assert load(f"compression: {word}").compression is False


def test_the_named_file_is_read_instead(load, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text("queue: other\n")
    assert load("queue: usual\n", file=other).queue == "other"
    assert load(environ={"STUDIOML_CONFIG": str(other)}).queue == "other"
    with pytest.raises(ConfigError, match="named by --config, does not exist"):
        load(file=tmp_path / "missing.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(file=tmp_path)


@pytest.mark.parametrize(("mode", "count"), [(0o600, 0), (0o400, 0), (0o644, 1), (0o660, 1)])
def test_a_credentials_file_that_others_can_read_is_warned_of(load, tmp_path, mode, count):
    key = tmp_path / "key.json"
    key.touch()
    key.chmod(mode)
    config = load(f"storage: {{type: gcloud, bucket: b, credentials: {key}}}")
    assert len(config.warnings) == count
    assert all(f"chmod 600 {key}" in warning for warning in config.warnings)


@pytest.mark.parametrize(("text", "seconds"), [("1m", 60), ("30s", 30), ("2h", 7200), ("1h30m", 5400), (" 1.5 m ", 90)])
def test_durations(text, seconds):
    assert parse_duration(text, "key") == seconds


@pytest.mark.parametrize("text", ["1s", "1m", "1m30s", "2h", "1d1h"])
def test_a_duration_is_written_as_it_is_read(text):
    assert format_duration(parse_duration(text, "key")) == text


def test_yaml_is_imported_only_where_there_is_a_file(tmp_path):
    program = (
        "import sys; from studio_cas.config import load_config; load_config(environ={'STUDIOML_HOME': sys.argv[1]});"
        "print([name for name in ('yaml', 'typer', 'rich', 'fsspec', 'numpy', 'blake3') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
