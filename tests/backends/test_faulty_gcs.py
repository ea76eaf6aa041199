"""What a bucket does when the network or the service misbehaves: nothing is lost, doubled, or believed when torn."""

import time

import pytest

from studio_cas.backends.gcs import GcsBackend
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
from studio_cas.testing.faulty_gcs import BUCKET, Fault, faulty_gcs

CONTENT = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def server():
    with faulty_gcs() as running:
        yield running


@pytest.fixture
def service(server):
    server.objects.clear()
    server.faults.clear()
    server.requests.clear()
    server.bucket_exists = True
    server.ignores_preconditions = False
    return server


@pytest.fixture
def bare(service):
    store = GcsBackend(BUCKET, endpoint=service.endpoint, project="p", timeout=0.3)
    yield store
    store.close()


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def store(bare, pauses):
    return Retrying(Metered(bare), Budget(attempts=4), sleep=pauses.append, jitter=lambda: 1.0)


@pytest.mark.parametrize("kind", ["lose", "hang"])
def test_a_create_whose_answer_is_lost_succeeds(store, service, kind):
    service.arm(Fault("POST", kind))
    store.create("a", [CONTENT[:100], CONTENT[100:]])
    assert service.objects == {"a": CONTENT}
    assert store.inner.counts.create == 2


def test_a_create_that_lost_its_answer_and_the_race_is_a_conflict(store, service):
    service.arm(Fault("POST", "lose"))
    service.objects["a"] = b"of another writer"
    with pytest.raises(ObjectExistsError):
        store.create("a", [CONTENT])
    service.arm(Fault("POST", "lose"))
    service.objects["a"] = CONTENT[::-1]
    with pytest.raises(ObjectExistsError):
        store.create("a", [CONTENT])


def test_without_a_lost_answer_equal_content_is_a_conflict(store, service):
    service.objects["a"] = CONTENT
    with pytest.raises(ObjectExistsError):
        store.create("a", [CONTENT])
    assert len(service.requests) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_service_is_asked_again(store, service, pauses, status):
    service.arm(*(Fault(method, status=status) for method in ("POST", "GET", "GET", "DELETE")))
    store.create("a", [CONTENT])
    assert store.read("a") == CONTENT
    assert [found.key for found in store.list("")] == ["a"]
    service.arm(Fault("GET", status=status))
    assert store.stat("a").size == len(CONTENT)
    store.delete("a")
    assert service.objects == {}
    assert len(pauses) == 5


def test_the_service_says_how_long_to_wait(store, service, pauses):
    service.arm(Fault("GET", status=429, headers={"Retry-After": "7"}), Fault("GET", status=503))
    service.objects["a"] = CONTENT
    assert store.read("a") == CONTENT
    assert pauses == [7.0, 1.0]


def test_a_quota_is_a_reason_to_wait(bare, service):
    service.arm(Fault("GET", status=403, reason="rateLimitExceeded"))
    with pytest.raises(TransientError):
        bare.read("a")


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
def test_a_short_body_is_never_believed(bare, store, service, kind, request_):
    service.objects["a"] = CONTENT
    service.arm(Fault("GET", kind))
    with pytest.raises(TransientError):
        request_(bare)
    service.arm(Fault("GET", kind))
    assert request_(store) == request_(bare)


@pytest.mark.parametrize("kind", ["short", "less"])
def test_a_short_listing_is_never_believed(store, service, kind):
    service.objects |= {"a": b"", "b": b"", "c": b""}
    service.arm(Fault("GET", kind))
    assert [found.key for found in store.list("")] == ["a", "b", "c"]


def test_a_hang_ends_with_the_time_out(bare, service):
    service.objects["a"] = CONTENT
    service.arm(Fault("GET", "hang"))
    began = time.monotonic()
    with pytest.raises(TransientError, match=r"within 0\.3 s"):
        bare.read("a")
    assert time.monotonic() - began < 5


def test_a_service_that_stays_away_is_given_up(store, service, pauses):
    service.arm(*[Fault("GET")] * 10)
    with pytest.raises(TransientError, match="try again"):
        store.read("a")
    assert len(service.requests) == 4
    assert pauses == [0.5, 1.0, 2.0]


def test_an_upload_that_is_damaged_on_its_way_is_taken_back_and_repeated(store, service):
    service.arm(Fault("POST", "damage"))
    store.create("a", [CONTENT])
    assert service.objects == {"a": CONTENT}


def test_a_damaged_upload_that_may_not_be_deleted_is_reported(store, service):
    service.arm(Fault("POST", "damage"), Fault("DELETE", status=403, message="no storage.objects.delete access"))
    with pytest.raises(ObjectExistsError):
        store.create("a", [CONTENT])


def test_a_delete_whose_answer_is_lost_succeeds(store, service):
    service.objects["a"] = CONTENT
    service.arm(Fault("DELETE", "lose"))
    store.delete("a")
    with pytest.raises(NotFoundError):
        store.delete("a")


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("POST", lambda store: store.create("a", [b""])),
        ("GET", lambda store: store.read("a")),
        ("DELETE", lambda store: store.delete("a")),
    ],
)
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_permission_is_named_and_not_retried(store, service, method, request_, status):
    service.arm(Fault(method, status=status, message="x@y does not have storage.objects.this access"))
    with pytest.raises(PermissionDeniedError, match=r"storage\.objects\.this"):
        request_(store)
    assert len(service.requests) == 1


def test_a_create_refused_for_lack_of_the_delete_permission_is_a_conflict(store, service):
    service.arm(Fault("POST", status=403, message="x@y does not have storage.objects.delete access to the object"))
    with pytest.raises(ObjectExistsError):
        store.create("a", [b""])


def test_a_bucket_of_somebody_else_is_explained(store, service):
    service.arm(Fault("GET", status=403, message="x@y does not have storage.objects.list access"))
    with pytest.raises(PermissionDeniedError, match=r"Storage Object Viewer.*another name"):
        store.prepare()


def test_a_bucket_that_may_not_be_made_is_explained(store, service):
    service.bucket_exists = False
    service.arm(Fault("POST", status=403, message="x@y does not have storage.buckets.create access"))
    with pytest.raises(PermissionDeniedError, match=r"does not exist, and can not be made in the project p"):
        store.prepare()


def test_a_bucket_name_that_is_taken_is_explained(store, service):
    service.bucket_exists = False
    service.arm(Fault("POST", status=409, message="not available"))
    with pytest.raises(StoreUnavailableError, match="taken by somebody else"):
        store.prepare()


def test_a_bucket_made_by_somebody_at_the_same_moment_is_fine(store, service):
    service.bucket_exists = False
    service.arm(Fault("POST", "lose"))
    store.prepare()
    assert service.bucket_exists


def test_a_server_that_speaks_no_tls_is_not_asked_again(service):
    store = GcsBackend(BUCKET, endpoint=service.endpoint.replace("http", "https"))
    with pytest.raises(StoreUnavailableError, match="can not be reached") as caught:
        store.prepare()
    assert not isinstance(caught.value, TransientError)
    store.close()


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (Fault("POST", status=400, message="invalid_grant"), PermissionDeniedError, "does not accept the credential"),
        (Fault("POST", "lose"), TransientError, "token service"),
    ],
)
def test_a_credential_that_gives_no_token_is_explained(service, service_account, fault, error, said):
    service.arm(fault)
    file = service_account(token_uri=f"{service.endpoint}/token")
    store = GcsBackend(BUCKET, credentials=file, endpoint=service.endpoint)
    with pytest.raises(error, match=said):
        store.read("a")
    store.close()


def test_an_answer_that_is_no_answer_is_transient(bare, service):
    service.arm(Fault("GET", "less"))
    with pytest.raises(TransientError, match="JSON"):
        bare.prepare()


def test_a_refusal_by_a_proxy_is_shown_as_it_is(bare, service):
    service.arm(Fault("GET", status=418, message="only tea"))
    with pytest.raises(StoreUnavailableError, match=r"only tea \(418\)"):
        bare.stat("a")


def test_a_service_that_ignores_the_precondition_is_refused(bare, service):
    service.ignores_preconditions = True
    with pytest.raises(OverwritesError, match="overwrites what exists"):
        Probed(bare).create("a", [CONTENT])
    assert service.objects == {}
