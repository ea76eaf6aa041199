"""A bucket of a real emulator keeps the contract, and everything that can be wrong with a bucket is told apart."""

import subprocess
import sys

import pytest

from studio_cas.backends.gcs import GcsBackend
from studio_cas.backends.gcs_client import Access, Client
from studio_cas.backends.opening import open_backend
from studio_cas.errors import ObjectExistsError, StoreUnavailableError
from studio_cas.testing.backend_contract import BackendContract, fill
from studio_cas.testing.bucket_contract import BucketContract


@pytest.fixture(scope="module")
def cloud(gcs_emulator):
    return GcsBackend, gcs_emulator


class TestGcs(BackendContract, BucketContract):
    rounds = 12

    @pytest.fixture
    def backend(self, store):
        return store


@pytest.mark.usefixtures("everything_is_large")
class TestGcsDirectly(TestGcs):
    """The same, on connections of our own."""


def test_opening_makes_no_request_and_imports_no_cloud_library(bucket):
    code = (
        "import sys; from studio_cas.backends.opening import open_backend;"
        f"store = open_backend('gs://{bucket}/p/q'); print(store.url, store.local); store.close();"
        "heavy = {'fsspec', 'gcsfs', 'aiohttp', 'google.auth'} & set(sys.modules); assert not heavy, heavy"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown == f"gs://{bucket}/p/q False\n"


def test_the_emulator_of_the_environment_is_used_without_credentials(gcs_emulator, monkeypatch, tmp_path):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_emulator.endpoint.removeprefix("http://"))
    store = open_backend(f"gs://{gcs_emulator.new_bucket()}", credentials=tmp_path / "never read.json")
    store.prepare()
    store.create("a", [b"1"])
    assert store.read("a") == b"1"
    store.close()


def test_foreign_objects_under_the_prefix_are_passed_over(store):
    store._client.request(
        "POST",
        f"/upload{store._objects}",
        data=b"x",
        headers={"Content-Type": "text/plain"},
        uploadType="media",
        name=f"{store._prefix}a folder/",
    )
    fill(store, "z")
    assert [found.key for found in store.list("", limit=1)] == ["z"]
    assert list(store.list_names("")) == ["z"]


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """A machine where Google's tools have left no credential."""
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.mark.usefixtures("nobody")
def test_no_credentials_is_one_clear_sentence():
    with pytest.raises(StoreUnavailableError, match="gcloud auth application-default login"):
        GcsBackend("some-bucket").prepare()


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"{", "not a valid"),
        (b"[]", "not a valid"),
        (b'{"type": "service_account", "private_key": "SECRET"}', "not a valid"),
        (b'{"type": "authorized_user", "refresh_token": "SECRET"}', "not a valid"),
        (b'{"type": "external_account"}', "GOOGLE_APPLICATION_CREDENTIALS"),
    ],
)
def test_a_credentials_file_that_is_none_is_named_and_not_quoted(tmp_path, content, said):
    file = tmp_path / "key.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StoreUnavailableError, match=said) as caught:
        GcsBackend("some-bucket", credentials=file).prepare()
    assert str(file) in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert "SECRET" not in repr(caught.value.__cause__)


@pytest.mark.usefixtures("nobody")
def test_a_service_account_brings_its_project(service_account):
    file = service_account(token_uri="https://nowhere.invalid")
    assert Client(Access(credentials=file)).project == "mine"
    assert Client(Access(credentials=file, project="other")).project == "other"


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(
    ("endpoint", "anonymous"),
    [
        (None, False),
        ("https://storage.googleapis.com", False),
        ("https://storage-mine.p.googleapis.com/", False),
        ("http://localhost:4443", True),
        ("127.0.0.1:4443", True),
        ("https://googleapis.com.evil.example", True),
    ],
)
def test_the_default_credential_goes_to_google_only(endpoint, anonymous):
    assert Client(Access(endpoint=endpoint)).anonymous is anonymous


def test_what_exists_is_told_apart_from_what_is_forbidden(store):
    store.create("a", [b"1"])
    with pytest.raises(ObjectExistsError, match="a exists already"):
        store.create("a", [b"1"])
