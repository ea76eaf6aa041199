"""What every bucket's backend must do beyond the contract of the port, as tests, against a real server of the cloud.

Inherit `BucketContract`, and give it a fixture `open_bucket`: called with a bucket's name and a prefix it opens a
store at a running server, with `endpoint=…` at another one; and a fixture `new_bucket`, which gives unused names.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from studio_cas.errors import NotFoundError, StoreUnavailableError, TransientError, UsageError
from studio_cas.testing.backend_contract import fill

if TYPE_CHECKING:
    from collections.abc import Callable

BAD_NAMES = ("", "a", "a/b", "ä-bucket", "-bucket", "a bucket")


class BucketContract:
    """The tests."""

    def test_a_missing_bucket_is_made_once_and_only_by_preparing(
        self, open_bucket: Callable[..., Any], new_bucket: Callable[[], str]
    ) -> None:
        """Every other request names the bucket that is missing."""
        name = new_bucket()
        store = open_bucket(name)
        requests: list[Callable[[], Any]] = [
            lambda: store.read("a"),
            lambda: store.stat("a"),
            lambda: store.create("a", [b"1"]),
            lambda: store.delete("a"),
            lambda: list(store.list("")),
            lambda: list(store.list_names("")),
        ]
        for request in requests:
            with pytest.raises(StoreUnavailableError, match=f"the bucket {name} does not exist"):
                request()
        store.prepare()
        store.prepare()
        with pytest.raises(NotFoundError):
            store.read("a")

    def test_two_stores_in_one_bucket_do_not_see_each_other(
        self, open_bucket: Callable[..., Any], new_bucket: Callable[[], str]
    ) -> None:
        """Also where one's prefix is the beginning of the other's."""
        name = new_bucket()
        one, other = open_bucket(name, "twins/one"), open_bucket(name, "/twins/one-other/")
        one.prepare()
        fill(one, "a", "b/c")
        assert list(other.list("")) == []
        assert list(other.list_names("")) == []
        fill(other, "a")
        assert [found.key for found in one.list("")] == ["a", "b/c"]

    def test_a_listing_of_many_pages_is_whole_and_in_order(
        self, open_bucket: Callable[..., Any], new_bucket: Callable[[], str]
    ) -> None:
        """Pages of two names."""
        store = open_bucket(new_bucket(), "p", page=2)
        store.prepare()
        keys = [f"{letter}/{number}" for letter in "abc" for number in range(5)]
        fill(store, *keys)
        assert [found.key for found in store.list("")] == keys
        assert [found.key for found in store.list("b", limit=3)] == keys[5:8]
        assert list(store.list_names("")) == ["a", "b", "c"]

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 warns beside threads
    def test_a_forked_child_uses_the_store_of_its_parent(
        self, open_bucket: Callable[..., Any], new_bucket: Callable[[], str]
    ) -> None:
        """With a session of its own."""
        store = open_bucket(new_bucket())
        store.prepare()
        store.create("parent", [b"1"])
        child = os.fork()
        if child == 0:
            code = 1
            try:
                store.create("child", [b"2"])
                code = 0 if store.read("parent") == b"1" else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert store.read("child") == b"2"

    def test_an_endpoint_that_nobody_serves_is_transient_and_named(
        self, open_bucket: Callable[..., Any], new_bucket: Callable[[], str]
    ) -> None:
        """And says why."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            endpoint = f"http://127.0.0.1:{probe.getsockname()[1]}"
            store = open_bucket(new_bucket(), endpoint=endpoint)
            with pytest.raises(TransientError, match=f"{endpoint} can not be reached: Connection refused"):
                store.prepare()

    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_a_name_that_no_bucket_can_have_is_refused(self, open_bucket: Callable[..., Any], name: str) -> None:
        """Before anything is asked."""
        with pytest.raises(UsageError, match="bucket"):
            open_bucket(name)
