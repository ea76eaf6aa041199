"""What a bucket of Google Cloud Storage does when the network or the service misbehaves: the contract, and its own."""

import pytest

from studio_cas.backends.gcs import GcsBackend
from studio_cas.errors import ObjectExistsError, PermissionDeniedError, StoreUnavailableError, TransientError
from studio_cas.testing.fault_contract import CONTENT, TIMEOUT, FaultContract
from studio_cas.testing.faulty_gcs import FaultyGcs
from studio_cas.testing.faulty_http import BUCKET, Fault, serve


@pytest.fixture(scope="module")
def server():
    with serve(FaultyGcs) as running:
        yield running


@pytest.fixture
def bare(service):
    store = GcsBackend(BUCKET, endpoint=service.endpoint, project="p", timeout=TIMEOUT)
    yield store
    store.close()


class TestGcsFaults(FaultContract):
    upload = "POST"
    stat = "GET"

    def test_a_damaged_upload_that_may_not_be_deleted_is_reported(self, store, service):
        service.arm(Fault("POST", "damage"), Fault("DELETE", status=403, message="no storage.objects.delete access"))
        with pytest.raises(ObjectExistsError):
            store.create("a", [CONTENT])

    def test_a_create_refused_for_lack_of_the_delete_permission_is_a_conflict(self, store, service):
        service.arm(Fault("POST", status=403, message="x@y does not have storage.objects.delete access to the object"))
        with pytest.raises(ObjectExistsError):
            store.create("a", [b""])

    def test_a_delete_refused_for_lack_of_its_permission_is_denied(self, store, service):
        service.objects["a"] = CONTENT
        service.arm(Fault("DELETE", status=403, message="x@y does not have storage.objects.delete access"))
        with pytest.raises(PermissionDeniedError):
            store.delete("a")


@pytest.mark.usefixtures("everything_is_large")
class TestGcsFaultsDirectly(TestGcsFaults):
    """The same, on connections of our own."""


def test_a_quota_is_a_reason_to_wait(bare, service):
    service.arm(Fault("GET", status=403, reason="rateLimitExceeded"))
    with pytest.raises(TransientError):
        bare.read("a")


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


def test_a_description_that_makes_no_sense_is_transient(bare, service, monkeypatch):
    monkeypatch.setattr(service, "answer", lambda *_: (200, {}, b'{"items": [{"name": "a", "size": "1"}]}'))
    with pytest.raises(TransientError, match="makes no sense"):
        list(bare.list(""))


def test_rights_of_the_folder_count_too(service):
    store = GcsBackend(BUCKET, "team", endpoint=service.endpoint)
    service.permissions = frozenset({"storage.objects.create", "storage.objects.get", "storage.objects.list"})
    service.arm(Fault("GET", status=403))  # about the bucket
    found = store.rights(trial=False)
    assert (found.missing, found.too_many) == ((), ())
    assert service.requests[-1][1].startswith(f"/storage/v1/b/{BUCKET}/managedFolders/team%2F/iam/testPermissions?")
    service.arm(*[Fault("GET", status=403)] * 2)
    assert store.rights(trial=False) is None
    store.close()
