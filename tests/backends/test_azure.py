"""A container of Azurite keeps the contract, and what is particular to Azure."""

import base64
import hashlib
import hmac
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from studio_cas.backends.azure import AzureBackend
from studio_cas.backends.opening import open_backend
from studio_cas.errors import ObjectExistsError, PermissionDeniedError, StoreUnavailableError, UsageError
from studio_cas.testing.backend_contract import BackendContract, fill
from studio_cas.testing.bucket_contract import BucketContract


@pytest.fixture(scope="module", autouse=True)
def machine(azure_emulator):
    """A machine with the account's key in its environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZURE_STORAGE_ACCOUNT", azure_emulator.account)
        patch.setenv("AZURE_STORAGE_KEY", azure_emulator.key)
        yield patch


@pytest.fixture(scope="module")
def cloud(azure_emulator, machine):
    return AzureBackend, azure_emulator


class TestAzure(BackendContract, BucketContract):
    rounds = 12

    @pytest.fixture
    def backend(self, store):
        return store


@pytest.mark.usefixtures("everything_is_large")
class TestAzureDirectly(TestAzure):
    """The same, on connections of our own."""


def test_opening_makes_no_request_and_imports_no_cloud_library():
    code = (
        "import sys; from studio_cas.backends.opening import open_backend;"
        "store = open_backend('abfs://bucket/p/q'); print(store.url, store.local); store.close();"
        "heavy = {'fsspec', 'azure', 'aiohttp'} & set(sys.modules); assert not heavy, heavy"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown == "az://bucket/p/q False\n"


def test_the_connection_string_of_the_environment_is_used(azure_emulator, monkeypatch):
    for name in ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY"):
        monkeypatch.delenv(name)
    for name, value in azure_emulator.environment.items():
        monkeypatch.setenv(name, value)
    store = open_backend({"type": "azure", "bucket": azure_emulator.new_bucket()})
    store.prepare()
    store.create("a", [b"1"])
    assert store.read("a") == b"1"
    store.close()


@pytest.mark.parametrize("key", ["a+b=c~d%20e/f&g?h#i", "q'(!*),;:@$/[x]{y}|^`\"<>"])
def test_every_character_of_a_key_is_signed_as_it_is_sent(store, key):
    fill(store, key)
    assert bytes(store.read_tail(key, 3)[0]) == key[-3:].encode()
    assert [found.key for found in store.list(key)] == [key]
    store.delete(key)
    assert list(store.list("")) == []


def test_foreign_objects_under_the_prefix_are_passed_over(store):
    for name in ("a folder/b", "ünïcode", ".hidden"):
        store._upload(f"{store._prefix}{name}", [b"x"])
    fill(store, "z")
    assert [found.key for found in store.list("")] == ["z"]
    assert list(store.list_names("")) == ["z"]


@pytest.mark.parametrize("key", ["a.", "a./b"])
def test_a_name_that_ends_in_a_dot_is_refused(store, key):
    with pytest.raises(UsageError, match="end in a dot"):
        store.create(key, [b"1"])
    with pytest.raises(UsageError, match="end in a dot"):
        AzureBackend("bucket", key)


@pytest.mark.parametrize("name", ["My-Bucket", "a--b", "a_b", "a.b.c", "x" * 64, "trailing-", "c@account.x"])
def test_a_name_that_no_container_can_have_is_refused(name):
    with pytest.raises(UsageError, match="lower-case"):
        AzureBackend(name)


def test_a_wrong_key_is_told(open_bucket, new_bucket, azure_emulator, monkeypatch):
    wrong = base64.b64encode(b"SECRET").decode()
    monkeypatch.setenv("AZURE_STORAGE_KEY", wrong)
    with pytest.raises(PermissionDeniedError, match="authenticate") as caught:
        open_bucket(new_bucket()).prepare()
    assert wrong not in str(caught.value)


def sas(emulator, container, permissions, hours=1):
    """A SAS token for a container. https://learn.microsoft.com/rest/api/storageservices/create-service-sas"""
    ends = (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
    fields = [permissions, "", ends, f"/blob/{emulator.account}/{container}", "", "", "", "2020-12-06", "c", *[""] * 7]
    digest = hmac.digest(base64.b64decode(emulator.key), "\n".join(fields).encode(), hashlib.sha256)
    signed = quote(base64.b64encode(digest).decode(), safe="")
    return f"?sp={permissions}&se={quote(ends)}&sv=2020-12-06&sr=c&sig={signed}"


@pytest.fixture
def with_token(azure_emulator, open_bucket, bucket, tmp_path):
    """Open a folder of the bucket with a SAS token from a file."""

    def open_(permissions, **options):
        file = tmp_path / "token"
        token = sas(azure_emulator, bucket, permissions, **options)
        file.write_text(f"AZURE_STORAGE_ACCOUNT={azure_emulator.account}\nAZURE_STORAGE_SAS_TOKEN='{token}'\n")
        return open_bucket(bucket, tmp_path.name.replace("_", "-"), credentials=file)

    return open_


def test_a_token_that_may_create_and_not_overwrite_is_enough(with_token):
    store = with_token("rcl")
    store.prepare()
    fill(store, "a")
    with pytest.raises(ObjectExistsError):
        store.create("a", [b"other"])
    assert bytes(store.read("a")) == b"a"
    with pytest.raises(PermissionDeniedError):
        store.delete("a")
    assert (store.rights(trial=True).too_many, store.rights(trial=True).missing) == ((), ())


def test_a_token_that_may_not_create_is_told(with_token):
    store = with_token("rl")
    with pytest.raises(PermissionDeniedError, match=r"can not be written.*\(403\): .*right") as caught:
        store.create("a", [b"1"])
    assert "sig=" not in str(caught.value)
    assert store.rights(trial=True).missing == ("create",)


def test_a_token_that_has_expired_is_told(with_token):
    with pytest.raises(PermissionDeniedError, match="expired") as caught:
        with_token("rcl", hours=-1).prepare()
    assert "sig=" not in str(caught.value)


def test_rights_are_tried_out_on_an_object_of_ones_own(store):
    assert store.rights(trial=False) is None
    assert store.rights(trial=True).too_many == ("delete", "overwrite")
    assert list(store.list("")) == []


def test_without_a_proof_it_is_a_login_and_never_nobody(open_bucket, new_bucket, monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_KEY")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(PermissionDeniedError, match="az login"):
        open_bucket(new_bucket()).prepare()


def test_without_the_extra_a_login_says_what_is_missing(open_bucket, new_bucket, monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_KEY")
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    monkeypatch.delitem(sys.modules, "studio_cas.backends.azure_login", raising=False)
    with pytest.raises(StoreUnavailableError, match=r"extra \[azure\].*pip install"):
        open_bucket(new_bucket()).prepare()


def test_a_process_that_ends_without_closing_says_nothing(azure_emulator):
    code = (
        "from studio_cas.backends.azure import AzureBackend;"
        f"store = AzureBackend('{azure_emulator.new_bucket()}', endpoint='{azure_emulator.endpoint}'); store.prepare()"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ended.stdout + ended.stderr == ""
