"""Which backend a path, a URL or a section of the configuration means."""

from pathlib import Path

import pytest

from studio_cas.backends.opening import open_backend
from studio_cas.errors import StoreUnavailableError, UsageError


@pytest.mark.parametrize(
    ("storage", "url"),
    [
        ("/some/store", "/some/store"),
        (Path("/some/store"), "/some/store"),
        ("file:///some/my%20store", "/some/my store"),
        ("~/store", str(Path.home() / "store")),
        ("relative", str(Path.cwd() / "relative")),
        ("memory://", "memory://"),
        ("memory://x", "memory://x"),
        ("gs://my-bucket", "gs://my-bucket"),
        ("gs://my-bucket/", "gs://my-bucket"),
        ("gs://my-bucket/some/prefix/", "gs://my-bucket/some/prefix"),
        ({"type": "local", "path": "/some/store"}, "/some/store"),
        ({"path": "/some/store"}, "/some/store"),
        ({"type": "gcloud", "bucket": "my-bucket"}, "gs://my-bucket"),
        ({"type": "gcloud", "bucket": "gs://my-bucket/", "prefix": "p", "credentials": None}, "gs://my-bucket/p"),
        ({"type": "Firebase", "bucket": "my-bucket", "credentials": "~/key.json"}, "gs://my-bucket"),
        ("s3://my-bucket", "s3://my-bucket"),
        ("s3a://my-bucket/some/prefix/", "s3://my-bucket/some/prefix"),
        ({"type": "s3", "bucket": "s3://my-bucket", "prefix": "p", "region": "eu-west-1"}, "s3://my-bucket/p"),
        ("abfs://box/p/q", "az://box/p/q"),
        ({"type": "azure", "bucket": "box", "prefix": "p", "account": "ann"}, "az://box/p"),
        ({"type": "memory", "name": "n"}, "memory://n"),
    ],
)
def test_a_store_is_opened_without_touching_it(storage, url):
    store = open_backend(storage)
    assert store.url == url
    assert store.local is not url.startswith(("gs:", "s3:", "az:"))
    store.close()
    assert not Path("/some").exists()


def test_memory_stores_are_shared_by_name():
    open_backend("memory://shared").create("a", [b"1"])
    assert open_backend("memory://shared").read("a") == b"1"
    assert list(open_backend("memory://other").list("")) == []


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ("s3://", "s3://bucket/prefix"),
        ("s3://my-bucket--use1-az4--x-s3", "directory bucket"),
        ({"type": "s3"}, "`bucket:`"),
        ("azure://bucket", "azure.*gs://"),
        ({"type": "ftp"}, "ftp.*gs://"),
        ("gs://", "name of a bucket"),
        ("gs://my-bucket/../up", "not a key"),
        ("", "no name"),
        ("~no-such-user/store", "there is no user no-such-user"),
        (Path("~no-such-user/store"), "there is no user no-such-user"),
        ({"type": "gcloud", "bucket": "b", "credentials": "~no-such-user/key"}, "there is no user no-such-user"),
        ("file://", "no name"),
        ({"type": "gcloud"}, "`bucket:`"),
        ({"type": "local"}, "`path:`"),
    ],
)
def test_what_can_not_be_opened_says_what_can(storage, said):
    with pytest.raises(UsageError, match=said):
        open_backend(storage)


def test_without_the_extra_an_s3_store_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StoreUnavailableError, match=r"pip install 'studio-cas\[s3\]'"):
        open_backend("s3://my-bucket")
