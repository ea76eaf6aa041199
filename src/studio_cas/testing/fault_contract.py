"""What a bucket's backend must do when the network or the service misbehaves, as tests, whatever the cloud.

Inherit `FaultContract`, and give it fixtures: `service`, a FaultyService as new, and `bare`, a backend in its bucket
with a time-out of `TIMEOUT` seconds.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pytest

from studio_cas.backends.cloud import REQUESTS, UPLOADS
from studio_cas.backends.metered import Metered
from studio_cas.backends.probe import Probed
from studio_cas.backends.retrying import Budget, Retrying
from studio_cas.errors import (
    NotFoundError,
    ObjectExistsError,
    OverwritesError,
    PermissionDeniedError,
    StoreUnavailableError,
    TransientError,
)
from studio_cas.testing.faulty_http import Fault, FaultyService

if TYPE_CHECKING:
    from collections.abc import Callable

    from studio_cas.backends.base import Backend

TIMEOUT: Final = 2.0  # a busy machine needs some time for an answer
CONTENT: Final = bytes(range(256)) * 40


class FaultContract:
    """The tests. `upload` and `stat` are the methods of those requests; `stats_first`: a delete begins with a stat.

    `shared_names`: a bucket may be of another customer.
    """

    upload: ClassVar[str]
    stat: ClassVar[str]
    stats_first: ClassVar[bool] = False
    shared_names: ClassVar[bool] = True

    @pytest.fixture
    def pauses(self) -> list[float]:
        """How long a `store` waited, in seconds."""
        return []

    @pytest.fixture
    def store(self, bare: Backend, pauses: list[float]) -> Retrying:
        """The backend with its decorators, and a clock of its own."""
        return Retrying(Metered(bare), Budget(attempts=4), sleep=pauses.append, jitter=lambda: 1.0)

    @pytest.mark.parametrize("kind", ["lose", "hang"])
    def test_a_create_whose_answer_is_lost_succeeds(self, store: Retrying, service: FaultyService, kind: Any) -> None:
        """It is sent once more, and the conflict with itself is none."""
        service.arm(Fault(self.upload, kind))
        store.create("a", [CONTENT[:100], CONTENT[100:]])
        assert service.objects == {"a": CONTENT}
        assert isinstance(store.inner, Metered)
        assert store.inner.counts.create == 2

    def test_a_create_that_lost_its_answer_and_the_race_is_a_conflict(
        self, store: Retrying, service: FaultyService
    ) -> None:
        """Whether the size differs, or only the content."""
        for other in (b"of another writer", CONTENT[::-1]):
            service.arm(Fault(self.upload, "lose"))
            service.objects["a"] = other
            with pytest.raises(ObjectExistsError):
                store.create("a", [CONTENT])

    def test_an_answer_that_is_lost_on_a_kept_connection_is_no_conflict(
        self, store: Retrying, service: FaultyService
    ) -> None:
        """No library sends an upload a second time on its own."""
        store.create("first", [b"1"])
        service.arm(Fault(self.upload, "lose"))
        store.create("a", [CONTENT])
        assert service.objects["a"] == CONTENT

    def test_without_a_lost_answer_equal_content_is_a_conflict(self, store: Retrying, service: FaultyService) -> None:
        """At once."""
        service.objects["a"] = CONTENT
        with pytest.raises(ObjectExistsError):
            store.create("a", [CONTENT])
        assert len(service.requests) == 1

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    def test_a_busy_service_is_asked_again(
        self, store: Retrying, service: FaultyService, pauses: list[float], status: int
    ) -> None:
        """Whatever the request."""
        service.arm(*(Fault(method, status=status) for method in (self.upload, "GET", "GET", "DELETE")))
        store.create("a", [CONTENT])
        assert bytes(store.read("a")) == CONTENT
        assert [found.key for found in store.list("")] == ["a"]
        service.arm(Fault(self.stat, status=status))
        assert store.stat("a").size == len(CONTENT)
        store.delete("a")
        assert service.objects == {}
        assert len(pauses) == 5

    def test_the_service_says_how_long_to_wait(
        self, store: Retrying, service: FaultyService, pauses: list[float]
    ) -> None:
        """In the header Retry-After."""
        service.arm(Fault("GET", status=429, headers={"Retry-After": "7"}), Fault("GET", status=503))
        service.objects["a"] = CONTENT
        assert bytes(store.read("a")) == CONTENT
        assert pauses == [7.0, 1.0]

    def test_the_service_says_when_to_come_back(
        self, store: Retrying, service: FaultyService, pauses: list[float]
    ) -> None:
        """As a date, by its own clock."""
        service.arm(Fault("GET", headers={"Retry-After": formatdate(time.time() + 10, usegmt=True)}))
        service.objects["a"] = CONTENT
        assert bytes(store.read("a")) == CONTENT
        assert 5 < pauses[0] <= 11

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_busy_service_is_asked_less_at_once(
        self, bare: Backend, store: Retrying, service: FaultyService, status: int
    ) -> None:
        """Half as much, and a little more with each answer."""
        service.arm(Fault(self.upload, status=status))
        store.create("a", [CONTENT])
        client = bare._client  # type: ignore[attr-defined]  # noqa: SLF001 - of every bucket
        assert client._uploads.limit == UPLOADS // 2  # noqa: SLF001
        assert client._requests.limit == REQUESTS  # noqa: SLF001

    @pytest.mark.parametrize("kind", ["short", "less"])
    @pytest.mark.parametrize(
        "request_",
        [
            lambda store: store.read("a"),
            lambda store: store.read("a", 10, 500),
            lambda store: store.read("a", 10),
            lambda store: store.read_tail("a", 500)[0],
        ],
    )
    def test_a_short_body_is_never_believed(
        self, bare: Backend, store: Retrying, service: FaultyService, kind: Any, request_: Callable[[Any], bytes]
    ) -> None:
        """Whether the connection breaks off, or the service says that this was all."""
        service.objects["a"] = CONTENT
        service.arm(Fault("GET", kind))
        with pytest.raises(TransientError) as caught:
            request_(bare)
        assert kind == "less" or "was cut off" in str(caught.value)
        service.arm(Fault("GET", kind))
        assert request_(store) == request_(bare)

    @pytest.mark.parametrize("kind", ["short", "less"])
    def test_a_short_listing_is_never_believed(self, store: Retrying, service: FaultyService, kind: Any) -> None:
        """Names that are missing would be data that is missing."""
        service.objects |= {"a": b"", "b": b"", "c": b""}
        service.arm(Fault("GET", kind))
        assert [found.key for found in store.list("")] == ["a", "b", "c"]

    def test_a_hang_ends_with_the_time_out(self, bare: Backend, service: FaultyService) -> None:
        """The server would hang for a minute."""
        service.objects["a"] = CONTENT
        service.arm(Fault("GET", "hang"))
        with pytest.raises(TransientError, match=f"within {TIMEOUT:g} s"):
            bare.read("a")

    def test_a_service_that_stays_away_is_given_up(
        self, store: Retrying, service: FaultyService, pauses: list[float]
    ) -> None:
        """With its own words."""
        service.arm(*[Fault("GET")] * 10)
        with pytest.raises(TransientError, match="try again"):
            store.read("a")
        assert len(service.requests) == 4
        assert pauses == [0.5, 1.0, 2.0]

    def test_an_upload_that_is_damaged_on_its_way_is_repeated(self, store: Retrying, service: FaultyService) -> None:
        """It never stays."""
        service.arm(Fault(self.upload, "damage"))
        store.create("a", [CONTENT])
        assert service.objects == {"a": CONTENT}

    def test_a_delete_whose_answer_is_lost_succeeds(self, store: Retrying, service: FaultyService) -> None:
        """And what is gone is not deleted again."""
        service.objects["a"] = CONTENT
        service.arm(Fault("DELETE", "lose"))
        store.delete("a")
        with pytest.raises(NotFoundError):
            store.delete("a")

    @pytest.mark.parametrize("request_", ["create", "read", "delete"])
    @pytest.mark.parametrize("status", [401, 403])
    def test_a_refused_permission_is_named_and_not_retried(
        self, store: Retrying, service: FaultyService, request_: str, status: int
    ) -> None:
        """With the service's own words."""
        method = {"create": self.upload, "read": "GET", "delete": "DELETE"}[request_]
        service.objects["there"] = b""
        service.arm(Fault(method, status=status, message="x@y does not have storage.objects.this access"))
        arguments = ("a", [b""]) if request_ == "create" else ("there",)
        with pytest.raises(PermissionDeniedError, match=r"storage\.objects\.this"):
            getattr(store, request_)(*arguments)
        assert len(service.requests) == 1 + (self.stats_first and request_ == "delete")

    def test_a_bucket_of_somebody_else_is_explained(self, store: Retrying, service: FaultyService) -> None:
        """A refusal may also mean that the name is taken."""
        service.arm(Fault("GET", status=403, message="x@y does not have list access"))
        with pytest.raises(PermissionDeniedError, match="Ask its owner for ") as caught:
            store.prepare()
        assert ("another name" in str(caught.value)) == self.shared_names

    def test_a_bucket_that_may_not_be_made_is_explained(self, store: Retrying, service: FaultyService) -> None:
        """With the place where it would be."""
        service.bucket_exists = False
        service.arm(Fault(self._making, status=403, message="x@y does not have create access"))
        with pytest.raises(
            PermissionDeniedError, match=r"does not exist, and can not be made in the (project|region|account)"
        ):
            store.prepare()

    def test_a_bucket_name_that_is_taken_is_explained(self, store: Retrying, service: FaultyService) -> None:
        """By somebody else, at the same moment or out of sight."""
        service.bucket_exists = False
        service.arm(Fault(self._making, status=409, message="not available"))
        said = "taken by somebody else" if self.shared_names else "does not exist"
        with pytest.raises(StoreUnavailableError, match=said):
            store.prepare()

    def test_a_bucket_made_by_somebody_at_the_same_moment_is_fine(
        self, store: Retrying, service: FaultyService
    ) -> None:
        """As long as we may use it."""
        service.bucket_exists = False
        service.arm(Fault(self._making, "lose"))
        store.prepare()
        assert service.bucket_exists

    def test_a_refusal_by_a_proxy_is_shown_as_it_is(self, bare: Backend, service: FaultyService) -> None:
        """Whatever its status."""
        service.arm(Fault("GET", status=418, message="only tea"))
        with pytest.raises(StoreUnavailableError, match=r"only tea \(418\)"):
            bare.read("a")

    def test_a_service_that_ignores_the_precondition_is_refused(self, bare: Backend, service: FaultyService) -> None:
        """Before anything is written."""
        service.ignores_preconditions = True
        with pytest.raises(OverwritesError, match="overwrites what exists"):
            Probed(bare).create("a", [CONTENT])
        assert service.objects == {}

    @property
    def _making(self) -> str:
        """The method of a request that makes a bucket: the same as that of an upload."""
        return self.upload
