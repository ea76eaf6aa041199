"""Who we are to Azure is found in a file or the environment; what is none is named and not quoted."""

import base64
from types import SimpleNamespace

import pytest

from studio_cas.backends.azure_credentials import load
from studio_cas.backends.azure_signing import signature, text_to_sign
from studio_cas.errors import PermissionDeniedError, StoreUnavailableError, TransientError

KEY = base64.b64encode(b"SECRET").decode()
SAS = "sv=2023-11-03&se=2026-01-02T03%3A04%3A05Z&sig=SECRET%2B"
CONNECTION = f"DefaultEndpointsProtocol=https;AccountName=ann;AccountKey={KEY};EndpointSuffix=core.windows.net"
DATE = "Fri, 02 Jan 2026 03:04:05 GMT"
HERE = "http://127.0.0.1:10000/ann"


@pytest.fixture
def file(tmp_path):
    def write(content):
        (tmp_path / "key").write_text(content)
        return tmp_path / "key"

    return write


@pytest.mark.parametrize(
    "text",
    [
        CONNECTION,
        f"\ufeff{CONNECTION}\n",
        f"AZURE_STORAGE_CONNECTION_STRING='{CONNECTION}'\n",
        f"# mine\nexport AZURE_STORAGE_ACCOUNT=ann\nAZURE_STORAGE_KEY = {KEY}\n",
        f"AZURE_STORAGE_ACCOUNT_NAME=ann\nAZURE_STORAGE_ACCOUNT_KEY={KEY}\nOTHER=1\n",
    ],
)
def test_a_key_in_a_file_is_found(file, text):
    found = load(file(text), None, None, {"AZURE_STORAGE_ACCOUNT": "bob", "AZURE_STORAGE_KEY": "other"})
    assert (found.name, found.endpoint, found.key) == ("ann", "https://ann.blob.core.windows.net", b"SECRET")
    assert "SECRET" not in repr(found)
    assert KEY not in repr(found)


@pytest.mark.parametrize(
    ("environment", "account", "endpoint", "expected"),
    [
        ({"AZURE_STORAGE_KEY": KEY}, "ann", None, "https://ann.blob.core.windows.net"),
        ({"AZURE_STORAGE_ACCOUNT": "ann", "AZURE_STORAGE_KEY": KEY}, None, "blob.example:8", "https://blob.example:8"),
        ({"AZURE_STORAGE_KEY": KEY}, None, HERE, HERE),
        ({"AZURE_STORAGE_KEY": KEY}, None, "https://ann.blob.core.example/", "https://ann.blob.core.example"),
        ({"AZURE_STORAGE_KEY": KEY}, "ann", "localhost:10000/ann", "http://localhost:10000/ann"),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": f"{CONNECTION};BlobEndpoint=http://b.example/ann/"},
            None,
            None,
            "http://b.example/ann",
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": CONNECTION.replace("windows.net", "chinacloudapi.cn")},
            None,
            None,
            "https://ann.blob.core.chinacloudapi.cn",
        ),
    ],
)
def test_the_environment_and_the_configuration_name_an_account(environment, account, endpoint, expected):
    found = load(None, account, endpoint, environment)
    assert (found.name, found.endpoint, found.key) == ("ann", expected, b"SECRET")


@pytest.mark.parametrize("token", [SAS, f"?{SAS}", f"https://ann.blob.core.windows.net/c?{SAS}"])
def test_a_token_is_found_and_its_end_known(token):
    found = load(None, "ann", None, {"AZURE_STORAGE_SAS_TOKEN": token})
    assert dict(found.sas)["sig"] == "SECRET%2B"
    assert "SECRET" not in repr(found)
    assert not found.has_expired(1_767_323_044)
    assert found.has_expired(1_767_323_045)


def test_without_any_proof_it_is_a_login():
    found = load(None, "ann", None, {})
    assert (found.key, found.sas, found.found_in) == (None, (), "a login")
    assert not found.has_expired(0)


@pytest.mark.parametrize(
    ("environment", "account", "endpoint", "said"),
    [
        ({}, None, None, "set `account:`"),
        ({"AZURE_STORAGE_KEY": KEY}, "Ann_1", None, "small letters"),
        ({"AZURE_STORAGE_ACCOUNT": "bob", "AZURE_STORAGE_KEY": KEY}, "ann", None, "is of the account bob"),
        ({"AZURE_STORAGE_KEY": "SECRET!"}, "ann", None, "not copied whole"),
        ({"AZURE_STORAGE_SAS_TOKEN": "SECRET"}, "ann", None, "not copied whole"),
        ({"AZURE_STORAGE_CONNECTION_STRING": "AccountName=ann;SECRET"}, None, None, "neither AccountKey nor"),
        ({"AZURE_STORAGE_KEY": KEY}, "ann", "https://h/c?sig=SECRET", "not an address"),
        ({"AZURE_STORAGE_KEY": KEY}, "ann", "https://[SECRET", "not an address"),
        ({"AZURE_STORAGE_KEY": KEY}, "ann", "ftp://h", "not an address"),
        ({"AZURE_STORAGE_SAS_TOKEN": SAS}, "ann", "http://blob.example", "not encrypted"),
        ({}, "ann", "http://blob.example", "not encrypted"),
    ],
)
def test_what_can_not_be_used_is_told_and_not_quoted(environment, account, endpoint, said):
    with pytest.raises(StoreUnavailableError, match=said) as caught:
        load(None, account, endpoint, environment)
    assert "SECRET" not in str(caught.value) + repr(caught.value.__cause__)


@pytest.mark.parametrize(
    "text", ["", "SECRET", '{"key": "SECRET"}', "AZURE_STORAGE_ACCOUNT=SECRET\n", "[default]\nkey = SECRET\n"]
)
def test_a_file_that_has_no_key_is_named_and_not_quoted(file, text):
    with pytest.raises(StoreUnavailableError, match="not a file of Azure keys") as caught:
        load(file(text), "ann", None, {"AZURE_STORAGE_KEY": KEY})
    assert "SECRET" not in str(caught.value)


def test_a_file_that_can_not_be_read_says_why(tmp_path):
    with pytest.raises(StoreUnavailableError, match="No such file"):
        load(tmp_path / "none", "ann", None, {})


def test_bytes_that_are_no_text_are_no_keys(tmp_path):
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    with pytest.raises(StoreUnavailableError, match="not a file of Azure keys"):
        load(tmp_path / "key", "ann", None, {})


def test_the_text_that_is_signed_has_its_parts_in_azures_order():
    headers = {"x-ms-version": "2023-11-03", "X-Ms-Date": DATE, "If-None-Match": "*", "Content-Length": "0"}
    text = text_to_sign("ann", "PUT", "/c/a%20b", {"restype": "container", "comp": "list"}, headers)
    assert text.split("\n") == [
        *("PUT", "", "", "", "", "", "", "", "", "*", "", ""),
        *(f"x-ms-date:{DATE}", "x-ms-version:2023-11-03", "/ann/c/a%20b", "comp:list", "restype:container"),
    ]


def test_the_signature_is_that_of_azures_own_library():
    headers = {
        "x-ms-version": "2023-11-03",
        "x-ms-date": DATE,
        "x-ms-blob-type": "BlockBlob",
        "Content-MD5": "abc=",
        "Content-Type": "application/octet-stream",
        "Content-Length": "12",
        "If-None-Match": "*",
    }
    query = {"restype": "container", "comp": "list", "prefix": "a/b c"}
    text = text_to_sign("ann", "PUT", "/c/a%20b%2B%7Bx%7D", query, headers)
    assert signature(b"SECRET", text) == "Vjle9cOfE7sdbH5HW6C7BsfDhA7PUI05+UP444W7xYM="  # azure-storage-blob 12.31.1


class Identity:
    """An identity whose tokens are good for an hour, or an error."""

    def __init__(self, error=None):
        self.asked, self.error = 0, error

    def get_token(self, scope):
        assert scope == "https://storage.azure.com/.default"
        self.asked += 1
        if self.error:
            raise self.error
        return SimpleNamespace(token=f"token-{self.asked}", expires_on=self.asked * 3600)


def test_a_token_of_a_login_is_kept_until_shortly_before_its_end():
    login = pytest.importorskip("studio_cas.backends.azure_login").Login
    now = [0.0]
    logged_in = login(Identity(), clock=lambda: now[0])
    tokens = []
    for now[0] in (0.0, 3000.0, 3599.0):
        tokens.append(logged_in.token())
    assert tokens == ["token-1", "token-1", "token-2"]


def test_a_login_that_fails_says_what_to_do():
    pytest.importorskip("azure.identity")
    from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

    from studio_cas.backends.azure_login import Login

    with pytest.raises(PermissionDeniedError, match="az login") as caught:
        Login(Identity(ClientAuthenticationError("quoted"))).token()
    assert "quoted" not in str(caught.value)
    with pytest.raises(TransientError, match="gave no token"):
        Login(Identity(ServiceRequestError("quoted"))).token()
