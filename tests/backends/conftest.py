"""Fixtures of the backend tests."""

import json
from importlib.util import find_spec

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@pytest.fixture
def service_account(tmp_path):
    """Write the key of a service account that nobody knows; gives its file."""

    def write(token_uri):
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        account = {"client_email": "a@b", "token_uri": token_uri, "project_id": "mine", "private_key": key.decode()}
        file = tmp_path / "key.json"
        file.write_text(json.dumps({"type": "service_account", **account}))
        return file

    return write


@pytest.fixture
def keys(tmp_path):
    """Write a file of AWS keys that open nothing; gives it."""

    def write(text="[default]\naws_access_key_id = AKIATESTING\naws_secret_access_key = canary-of-the-secret\n"):
        file = tmp_path / "keys"
        file.write_text(text)
        return file

    return write


@pytest.fixture(scope="session")
def models_are_read_once():
    """botocore's descriptions of Amazon's services: each store would parse them, which costs more than a test."""
    loader = pytest.importorskip("botocore.loaders").Loader
    begin, read = loader.__init__, {}

    def begin_with_what_was_read(self, *arguments, **options):
        begin(self, *arguments, **options)
        self._cache = read

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "__init__", begin_with_what_was_read)
        yield


@pytest.fixture
def everything_is_large(monkeypatch):
    """Every object is read, and every upload sent, on a connection of its own."""
    monkeypatch.setattr("studio_cas.backends.gcs_client.LARGE", 1)
    monkeypatch.setattr("studio_cas.backends.azure_client.LARGE", 1)
    if find_spec("s3fs"):
        monkeypatch.setattr("studio_cas.backends.s3_client.LARGE", 1)


@pytest.fixture(scope="module")
def bucket(cloud):
    """A bucket of the `cloud` (a backend's class, and its emulator) of the module."""
    kind, emulator = cloud
    name = emulator.new_bucket()
    store = kind(name, endpoint=emulator.endpoint)
    store.prepare()
    store.close()
    return name


@pytest.fixture
def new_bucket(cloud):
    """Gives names of buckets that are not there yet."""
    return cloud[1].new_bucket


@pytest.fixture
def open_bucket(cloud):
    """Opens stores, which are closed in the end."""
    kind, emulator = cloud
    opened = []

    def open_(*name, endpoint=emulator.endpoint, **options):
        opened.append(kind(*name, endpoint=endpoint, **options))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def store(bucket, open_bucket, request):
    """A store of this test alone."""
    return open_bucket(bucket, f"/{request.node.nodeid.encode().hex()[-200:]}/")


@pytest.fixture
def service(server):
    """The scripted `server` of the module, which does nothing wrong yet."""
    server.reset()
    return server
