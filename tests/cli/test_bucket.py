"""The same commands against a bucket of a Google Cloud Storage emulator."""

from __future__ import annotations

import pytest


@pytest.fixture
def bucket(gcs_emulator, terminal):
    """The URL of a store in a bucket that is not there yet; `terminal` reaches the emulator."""
    terminal.environment["STORAGE_EMULATOR_HOST"] = gcs_emulator.endpoint
    return f"gs://{gcs_emulator.new_bucket()}/studio"


def test_a_folder_comes_back_from_a_bucket(terminal, weights, bucket):
    terminal.ok("push", weights, "exp/w", "--store", bucket)
    assert "unchanged, still version 1" in terminal.ok("push", weights, "exp/w", "--store", bucket).out
    terminal.ok("pull", "exp/w", "back", "--store", bucket)
    assert (terminal.folder / "back" / "epoch-1.bin").read_bytes() == (weights / "epoch-1.bin").read_bytes()
    assert terminal.ok("cat", "exp/w/notes.txt", "--store", bucket).out == "loss 0.5\n"
    assert terminal.ok("ls", "--store", bucket).out == "exp\n"


def test_the_configuration_names_the_bucket(terminal, weights, bucket):
    name = bucket.split("/")[2]
    (terminal.home / ".studioml").mkdir()
    (terminal.home / ".studioml" / "config.yaml").write_text(f"storage: {{type: gcloud, bucket: {name}}}\n")
    terminal.ok("push", weights, "exp/w")
    assert terminal.ok("info", "exp/w", "--json").json["store"] == f"gs://{name}"


def test_a_missing_bucket_is_made_by_a_push_and_not_by_ls(terminal, weights, bucket):
    terminal.fails(3, "ls", "--store", bucket)
    terminal.fails(3, "pull", "exp/w", "--store", bucket)
    terminal.ok("push", weights, "exp/w", "--store", bucket)
    assert terminal.ok("ls", "--store", bucket).out == "exp\n"


def test_the_doctor_looks_at_the_bucket(terminal, bucket):
    before = terminal.run("doctor", "--store", bucket)
    assert before.code == 1
    assert "does not exist" in before.out
    assert "STORAGE_EMULATOR_HOST" in before.out
    tested = terminal.ok("doctor", "--store", bucket, "--write-test").out
    assert "ok    permissions: can create, read and delete" in tested
    assert "ok    clock:" in tested
    assert "warn  store: no store at" in tested
    assert "warn  store: no store at" in terminal.ok("doctor", "--store", bucket).out


def test_the_doctor_names_a_service_that_does_not_answer(terminal):
    outcome = terminal.run("doctor", "--store", "gs://bucket", STORAGE_EMULATOR_HOST="http://127.0.0.1:9")
    assert outcome.code == 1
    assert "fail  store: " in outcome.out


def test_the_doctor_names_a_key_file_that_holds_none(terminal):
    (terminal.folder / "key.json").write_text("not JSON")
    (terminal.folder / "key.json").chmod(0o600)
    (terminal.folder / "mine.yaml").write_text("storage: {type: gcloud, bucket: b, credentials: key.json}\n")
    outcome = terminal.run("doctor", "--config", "mine.yaml")
    assert outcome.code == 1
    assert "fail  credentials:" in outcome.out
