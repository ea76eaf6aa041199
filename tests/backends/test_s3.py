"""A bucket of a real S3 server keeps the contract, and what is particular to S3 and its services."""

import subprocess
import sys

import pytest

from studio_cas.backends.opening import open_backend
from studio_cas.backends.s3 import S3Backend
from studio_cas.errors import PermissionDeniedError, StoreUnavailableError, UsageError
from studio_cas.testing.backend_contract import BackendContract, fill
from studio_cas.testing.bucket_contract import BucketContract

pytest.importorskip("s3fs")

from studio_cas.backends.s3_client import Access, Client

pytestmark = pytest.mark.usefixtures("models_are_read_once")


@pytest.fixture(scope="module")
def cloud(s3_server, machine):
    return S3Backend, s3_server


@pytest.fixture(scope="module", autouse=True)
def machine(s3_server):
    """A machine with keys in its environment, and no configuration of Amazon's tools."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        yield patch


class TestS3(BackendContract, BucketContract):
    rounds = 12

    @pytest.fixture
    def backend(self, store):
        return store


@pytest.mark.usefixtures("everything_is_large")
class TestS3Directly(TestS3):
    """The same, on connections of our own."""


def test_opening_makes_no_request_and_imports_no_cloud_library():
    code = (
        "import sys; from studio_cas.backends.opening import open_backend;"
        "store = open_backend('s3://bucket/p/q'); print(store.url, store.local); store.close();"
        "heavy = {'fsspec', 's3fs', 'aiohttp', 'botocore'} & set(sys.modules); assert not heavy, heavy"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown == "s3://bucket/p/q False\n"


def test_the_endpoint_of_the_environment_is_used(s3_server, keys):
    store = open_backend(f"s3://{s3_server.new_bucket()}", credentials=keys())
    store.prepare()
    store.create("a", [b"1"])
    assert store.read("a") == b"1"
    store.close()


def test_a_bucket_is_made_in_the_region_that_is_configured(open_bucket, new_bucket):
    store = open_bucket(new_bucket(), region="eu-west-1")
    store.prepare()
    found = store._client.request("get_bucket_location", Bucket=store._bucket)
    assert found["LocationConstraint"] == "eu-west-1"


def test_foreign_objects_under_the_prefix_are_passed_over(store):
    for name in ("a folder/", "ünïcode", ".hidden"):
        store._client.request("put_object", Bucket=store._bucket, Key=f"{store._prefix}{name}", Body=b"x")
    fill(store, "z")
    assert [found.key for found in store.list("")] == ["z"]
    assert list(store.list_names("")) == ["z"]


def test_a_directory_bucket_is_refused():
    with pytest.raises(UsageError, match="lists in no order"):
        S3Backend("my-bucket--use1-az4--x-s3")


@pytest.mark.parametrize(
    ("named", "environment", "endpoint"),
    [
        (None, {}, None),
        ("https://minio.example:9000/", {}, "https://minio.example:9000"),
        ("minio.example:9000", {}, "https://minio.example:9000"),
        ("localhost:9000", {}, "http://localhost:9000"),
        ("[::1]:9000", {}, "http://[::1]:9000"),
        (None, {"AWS_ENDPOINT_URL": "http://b", "AWS_ENDPOINT_URL_S3": "http://a"}, "http://a"),
        (None, {"AWS_ENDPOINT_URL": "http://b"}, "http://b"),
        ("http://c", {"AWS_ENDPOINT_URL_S3": "http://a"}, "http://c"),
    ],
)
def test_an_endpoint_is_encrypted_but_on_this_machine(monkeypatch, named, environment, endpoint):
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Client(Access(endpoint=named))._url == endpoint


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """A machine where Amazon's tools have left no credential."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


def test_no_credentials_is_one_clear_sentence(open_bucket, new_bucket, nobody):
    with pytest.raises(StoreUnavailableError, match=r"`credentials:`.*AWS_ACCESS_KEY_ID.*aws configure"):
        open_bucket(new_bucket()).prepare()


def test_a_profile_that_there_is_not_is_named(open_bucket, new_bucket, nobody, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "work")
    with pytest.raises(StoreUnavailableError, match="work"):
        open_bucket(new_bucket()).prepare()


def test_a_login_that_has_expired_is_told(open_bucket, new_bucket, nobody, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "work")
    lines = ["sso_start_url = https://x.example", "sso_region = eu-west-1", "sso_account_id = 1", "sso_role_name = r"]
    (nobody / "config").write_text("\n".join(["[profile work]", *lines, ""]))
    with pytest.raises(PermissionDeniedError, match="aws sso login"):
        open_bucket(new_bucket()).prepare()


def test_keys_in_the_usual_file_are_found(open_bucket, new_bucket, nobody, keys):
    keys().rename(nobody / "credentials")
    store = open_bucket(new_bucket())
    store.prepare()
    assert list(store.list("")) == []


def test_rights_are_tried_out_on_an_object_of_ones_own(store):
    assert store.rights(trial=False) is None
    found = store.rights(trial=True)
    assert found.too_many == ("delete", "overwrite")
    assert found.missing == ()
    assert list(store.list("")) == []
