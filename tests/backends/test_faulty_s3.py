"""What a bucket of S3 does when the network or the service misbehaves: the contract, and what is S3's own."""

import pytest

from studio_cas.errors import ObjectExistsError, PermissionDeniedError, StoreUnavailableError, TransientError
from studio_cas.testing.fault_contract import CONTENT, TIMEOUT, FaultContract
from studio_cas.testing.faulty_http import BUCKET, Fault, serve
from studio_cas.testing.faulty_s3 import FaultyS3

pytest.importorskip("s3fs")

from studio_cas.backends.s3 import S3Backend

pytestmark = pytest.mark.usefixtures("models_are_read_once")


@pytest.fixture(scope="module")
def server():
    with serve(FaultyS3) as running:
        yield running


@pytest.fixture
def bare(service, keys):
    store = S3Backend(BUCKET, endpoint=service.endpoint, credentials=keys(), region="eu-west-1", timeout=TIMEOUT)
    yield store
    store.close()


class TestS3Faults(FaultContract):
    upload = "PUT"
    stat = "HEAD"
    stats_first = True


@pytest.mark.usefixtures("everything_is_large")
class TestS3FaultsDirectly(TestS3Faults):
    """The same, on connections of our own."""


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "InvalidAccessKeyId", "the access key is not known"),
        (403, "SignatureDoesNotMatch", "the secret key is wrong"),
        (400, "ExpiredToken", "log in again"),
        (403, "RequestTimeTooSkewed", "set this machine's clock"),
    ],
)
def test_what_is_wrong_with_a_credential_is_told(bare, service, status, code, said):
    for request in (bare.prepare, lambda: bare.create("a", [b"1"])):
        service.arm(*(Fault(method, status=status, message="no", reason=code) for method in ("GET", "PUT")))
        with pytest.raises(PermissionDeniedError, match=said) as caught:
            request()
        assert "another name" not in str(caught.value)
        service.faults.clear()


@pytest.mark.parametrize("code", ["PermanentRedirect", "IllegalLocationConstraintException"])
def test_a_bucket_of_another_region_is_told(bare, service, code):
    service.arm(Fault("GET", status=400, message="elsewhere", reason=code))
    with pytest.raises(StoreUnavailableError, match="set `region:`"):
        bare.prepare()


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "OperationAborted"])
def test_another_create_under_way_is_a_reason_to_ask_again(bare, service, code):
    service.arm(Fault("PUT", status=409, message="conflict", reason=code))
    with pytest.raises(TransientError):
        bare.create("a", [b"1"])


def test_a_damaged_upload_is_refused_by_the_service(bare, service):
    service.arm(Fault("PUT", "damage"))
    with pytest.raises(TransientError, match="Content-MD5"):
        bare.create("a", [CONTENT])
    assert service.objects == {}


def test_a_server_that_speaks_no_tls_is_not_asked_again(service, keys):
    store = S3Backend(BUCKET, endpoint=service.endpoint.replace("http", "https"), credentials=keys())
    with pytest.raises(StoreUnavailableError, match="can not be reached") as caught:
        store.prepare()
    assert not isinstance(caught.value, TransientError)
    store.close()


@pytest.mark.parametrize(
    ("methods", "missing", "too_many"),
    [
        ((), (), ("delete", "overwrite")),
        (("DELETE",), (), ("overwrite",)),
        (("PUT", "PUT", "DELETE"), ("create",), ()),
        (("PUT", "HEAD", "GET", "PUT", "DELETE"), ("create", "read", "list"), ()),
    ],
)
def test_what_is_denied_is_no_right(bare, service, methods, missing, too_many):
    service.arm(*(Fault(method, status=403) for method in methods))
    found = bare.rights(trial=True)
    assert (found.missing, found.too_many) == (missing, too_many)


def test_rights_that_can_not_be_tried_out_are_no_guess(bare, service):
    service.arm(Fault("HEAD", status=503))
    with pytest.raises(TransientError):
        bare.rights(trial=True)


def test_a_service_that_knows_no_precondition_says_so(bare, service):
    service.arm(Fault("PUT", status=501, message="a header is not implemented", reason="NotImplemented"))
    with pytest.raises(StoreUnavailableError, match="only where there is none"):
        bare.create("a", [b"1"])


def test_another_way_to_say_that_an_object_exists_is_understood(bare, service):
    service.arm(Fault("PUT", status=304, message="not modified"))
    with pytest.raises(ObjectExistsError):
        bare.create("a", [b"1"])
