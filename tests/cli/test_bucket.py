"""The same commands against buckets: of emulators of Google Cloud Storage and of Azure, and of an S3 server."""

from __future__ import annotations

import pytest

from studio_cas.backends.opening import open_backend
from studio_cas.testing.faulty_gcs import FaultyGcs
from studio_cas.testing.faulty_http import BUCKET, serve
from studio_cas.testing.s3_server import CREATE_ONLY, IGNORES_PRECONDITIONS, installed, s3_server

pytestmark = pytest.mark.own_store  # their buckets are their own, some of which refuse deletes anyway

SCRIPT = """
from pathlib import Path
from studio import fs_tracker
Path(fs_tracker.get_artifact("w"), "weights.bin").write_bytes(b"1" * 100_000)
print("trained")
"""


@pytest.fixture(params=["gs", "s3", "az"])
def bucket(request, bucket_of):
    """The URL of a store in a bucket that is not there yet; `terminal` reaches its service."""
    return bucket_of(request.param)


@pytest.fixture
def unusual(terminal, request):
    """The URL of a store in a bucket of an S3 server with a fault of its own."""
    if not installed():
        pytest.skip("moto or s3fs is not installed")
    with s3_server(request.param) as service:
        terminal.environment.update(service.environment)
        yield f"s3://{service.new_bucket()}/studio"


def test_a_folder_comes_back_from_a_bucket(terminal, weights, bucket):
    terminal.ok("push", weights, "exp/w", "--store", bucket)
    assert "unchanged, still version 1" in terminal.ok("push", weights, "exp/w", "--store", bucket).out
    terminal.ok("pull", "exp/w", "back", "--store", bucket)
    assert (terminal.folder / "back" / "epoch-1.bin").read_bytes() == (weights / "epoch-1.bin").read_bytes()
    assert terminal.ok("cat", "exp/w/notes.txt", "--store", bucket).out == "loss 0.5\n"
    assert terminal.ok("ls", "--store", bucket).out == "exp\n"
    costs = terminal.ok("du", "--cost", "--store", bucket).out
    assert ("not estimated: no list prices of Azure" if bucket.startswith("az:") else "a month costs") in costs


def test_a_script_is_run_and_its_weights_are_in_the_bucket(terminal, bucket):
    (terminal.folder / "train.py").write_text(SCRIPT)
    ran = terminal.ok("run", "--store", bucket, "-c", "weights:w", "-e", "exp", "--quiet", "train.py")
    assert "trained" in ran.out
    terminal.ok("pull", "exp/w", "back", "--store", bucket)
    assert (terminal.folder / "back" / "weights.bin").read_bytes() == b"1" * 100_000


def test_the_configuration_names_the_bucket(terminal, weights, bucket):
    scheme, _, name, _ = bucket.split("/")
    kind = {"gs:": "gcloud", "s3:": "s3", "az:": "azure"}[scheme]
    (terminal.home / ".studioml").mkdir()
    (terminal.home / ".studioml" / "config.yaml").write_text(f"storage: {{type: {kind}, bucket: {name}}}\n")
    terminal.ok("push", weights, "exp/w")
    assert terminal.ok("info", "exp/w", "--json").json["store"] == f"{scheme}//{name}"


def test_a_missing_bucket_is_made_by_a_push_and_not_by_ls(terminal, weights, bucket):
    terminal.fails(3, "ls", "--store", bucket)
    terminal.fails(3, "pull", "exp/w", "--store", bucket)
    terminal.ok("push", weights, "exp/w", "--store", bucket)
    assert terminal.ok("ls", "--store", bucket).out == "exp\n"


def test_the_doctor_looks_at_the_bucket(terminal, bucket):
    before = terminal.run("doctor", "--store", bucket)
    assert before.code == 1
    assert "does not exist" in before.out
    tested = terminal.ok("doctor", "--store", bucket, "--write-test").out
    assert "ok    permissions: can create, read and delete" in tested
    assert "ok    overwriting: what exists is not overwritten" in tested
    assert "ok    clock:" in tested
    assert "warn  store: no store at" in tested
    if not bucket.startswith("gs:"):  # that emulator does not tell
        assert "warn  rights: create, read, list, delete, overwrite\n" in tested
        assert "not needed to run, push and pull: delete, overwrite" in tested
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


@pytest.mark.parametrize("unusual", [IGNORES_PRECONDITIONS], indirect=True)
def test_a_bucket_that_overwrites_is_refused(terminal, weights, unusual):
    refused = terminal.fails(3, "push", weights, "exp/w", "--store", unusual)
    assert "overwrites what exists" in refused.err
    terminal.fails(3, "ls", "--store", unusual)  # nothing was made
    doctor = terminal.run("doctor", "--store", unusual, "--write-test")
    assert doctor.code == 1
    assert "fail  overwriting: " in doctor.out


@pytest.mark.parametrize("unusual", [CREATE_ONLY], indirect=True)
def test_a_credential_that_may_not_delete_is_enough(terminal, weights, unusual):
    terminal.ok("push", weights, "exp/w", "--store", unusual)
    (weights / "notes.txt").write_text("loss 0.4\n")
    terminal.ok("push", weights, "exp/w", "--store", unusual)
    terminal.ok("push", weights, "other/w", "--store", unusual)  # adopts the packs of the first, with a pin
    terminal.ok("pull", "other/w", "back", "--store", unusual)
    (terminal.folder / "train.py").write_text(SCRIPT)
    terminal.ok("run", "--store", unusual, "-c", "weights:w", "-e", "run", "--reuse", "exp/w:old", "train.py")
    doctor = terminal.ok("doctor", "--store", unusual, "--write-test").out
    assert "may not delete" in doctor
    assert "ok    rights: create, read, list\n" in doctor


@pytest.fixture(params=["s3", "az"])
def secretive(request, terminal):
    """A bucket, the section that names it, and what nobody shall see of its credentials."""
    if request.param == "s3":
        service, secret = request.getfixturevalue("s3_server"), "wJalrXUtnFEMI-canary"
        keys = f"[default]\naws_access_key_id = AKIA\naws_secret_access_key = {secret}\n"
        kind, more = "s3", "region: eu-west-1"
    else:
        service = request.getfixturevalue("azure_emulator")
        secret, keys = service.key, f"AZURE_STORAGE_KEY={service.key}\n"
        kind, more = "azure", f"account: {service.account}"
    (terminal.folder / "keys").write_text(keys)
    (terminal.folder / "keys").chmod(0o600)
    name = service.new_bucket()
    section = f"{{type: {kind}, bucket: {name}, credentials: keys, endpoint: '{service.endpoint}', {more}}}"
    (terminal.folder / "mine.yaml").write_text(f"storage: {section}\n")
    store = open_backend(f"{request.param}://{name}", credentials=terminal.folder / "keys", endpoint=service.endpoint)
    yield store, secret
    store.close()


def test_secrets_are_in_no_output_and_no_record(terminal, weights, secretive):
    store, canary = secretive
    options = ("--config", "mine.yaml")
    (terminal.folder / "train.py").write_text(SCRIPT)
    outcomes = [
        terminal.ok("-v", *options, "push", weights, "exp/w"),
        terminal.ok("run", *options, "-c", "weights:w", "-e", "run", "--no-workspace", "train.py"),
        terminal.ok("config", *options, "--json"),
        terminal.ok("doctor", *options, "--write-test"),
    ]
    assert not [outcome for outcome in outcomes if canary in outcome.out + outcome.err]
    kept = [path for path in terminal.home.rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if canary.encode() in path.read_bytes()]
    stored = [bytes(store.read(found.key)) for found in store.list("")]
    assert len(stored) > 5
    assert not [content for content in stored if canary.encode() in content]


@pytest.mark.parametrize(
    ("permissions", "said"),
    [
        ({"objects.create", "objects.get", "objects.list"}, "ok    rights: create, read, list\n"),
        ({"objects.get", "objects.list"}, "ok    rights: read, list\n"),
        (
            {"objects.create", "objects.get", "objects.list", "objects.delete", "buckets.setIamPolicy"},
            (
                "warn  rights: create, read, list, delete, overwrite, administer the bucket\n"
                "      -> not needed to run, push and pull: delete, overwrite, administer the bucket; "
            ),
        ),
        (set(), "ok    rights: nothing"),
    ],
)
def test_the_doctor_asks_which_rights_there_are_and_writes_nothing(terminal, permissions, said):
    with serve(FaultyGcs) as gcs:
        gcs.permissions = frozenset(f"storage.{name}" for name in permissions)
        shown = terminal.ok("doctor", "--store", f"gs://{BUCKET}", STORAGE_EMULATOR_HOST=gcs.endpoint).out
        assert said in shown
        assert gcs.objects == {}
        assert {method for method, _ in gcs.requests} == {"GET"}


def test_the_doctor_names_where_keys_were_found(terminal, s3_server):
    bucket = f"s3://{s3_server.new_bucket()}"
    terminal.environment.update(s3_server.environment)
    assert "ok    credentials: AWS, by env\n" in terminal.run("doctor", "--store", bucket).out
    del terminal.environment["AWS_ACCESS_KEY_ID"]
    missing = terminal.run("doctor", "--store", bucket)
    assert missing.code == 1
    assert "fail  credentials: no AWS credentials\n      -> run aws configure" in missing.out
    (terminal.folder / "keys").write_text("[default]\nSECRET\n")
    (terminal.folder / "keys").chmod(0o600)
    (terminal.folder / "mine.yaml").write_text("storage: {type: s3, bucket: bucket, credentials: keys}\n")
    wrong = terminal.run("doctor", "--config", "mine.yaml")
    assert "fail  credentials: " in wrong.out
    assert "not a file of AWS keys" in wrong.out
    assert "SECRET" not in wrong.out + wrong.err


def test_the_doctor_names_an_account_and_where_its_key_was_found(terminal, azure_emulator):
    bucket = f"az://{azure_emulator.new_bucket()}"
    asked = ("doctor", "--store", bucket)
    found = terminal.run(*asked, **azure_emulator.environment).out
    assert f"ok    credentials: Azure, account {azure_emulator.account}, by a key from the environment\n" in found
    assert "fail  credentials: no Azure storage account is known: set `account:`" in terminal.run(*asked).out
    account = {"AZURE_STORAGE_ACCOUNT": "ann"}
    expired = terminal.run(*asked, AZURE_STORAGE_SAS_TOKEN="sv=1&se=2026-01-01&sig=SECRET", **account)
    assert "fail  credentials: a SAS token from the environment has expired" in expired.out
    assert "SECRET" not in expired.out + expired.err
    (terminal.folder / "keys").write_text("SECRET\n")
    (terminal.folder / "mine.yaml").write_text("storage: {type: azure, bucket: bucket, credentials: keys}\n")
    wrong = terminal.run("doctor", "--config", "mine.yaml")
    assert "fail  credentials: " in wrong.out
    assert "not a file of Azure keys" in wrong.out
    assert "can be read by other users" in wrong.out + wrong.err
    assert "SECRET" not in wrong.out + wrong.err
