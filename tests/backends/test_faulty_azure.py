"""What a container of Azure does when the network or the service misbehaves: the contract, and what is Azure's own."""

import base64
import socket
from types import SimpleNamespace

import pytest

from studio_cas.backends.azure import AzureBackend
from studio_cas.errors import ObjectExistsError, PermissionDeniedError, StoreUnavailableError, TransientError
from studio_cas.testing.fault_contract import CONTENT, TIMEOUT, FaultContract
from studio_cas.testing.faulty_azure import ACCOUNT, FaultyAzure
from studio_cas.testing.faulty_http import BUCKET, Fault, serve

SECRET = base64.b64encode(b"canary of a key").decode()


@pytest.fixture(scope="module")
def server():
    with serve(FaultyAzure) as running:
        yield running


@pytest.fixture
def bare(service, tmp_path):
    (tmp_path / "key").write_text(f"AZURE_STORAGE_KEY={SECRET}\n")
    store = AzureBackend(
        BUCKET, account=ACCOUNT, endpoint=service.account, credentials=tmp_path / "key", timeout=TIMEOUT
    )
    yield store
    store.close()


class TestAzureFaults(FaultContract):
    upload = "PUT"
    stat = "HEAD"
    shared_names = False


@pytest.mark.usefixtures("everything_is_large")
class TestAzureFaultsDirectly(TestAzureFaults):
    """The same, on connections of our own."""


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "AuthenticationFailed", "the account's key is wrong"),
        (401, "InvalidAuthenticationInfo", "log in again"),
        (403, "KeyBasedAuthenticationNotPermitted", "the account takes no keys"),
        (403, "AuthorizationFailure", "closed to this network"),
        (403, "AuthorizationPermissionMismatch", "has no right to it"),
        (403, "AccountIsDisabled", "ask who administers it"),
    ],
)
def test_what_is_wrong_with_a_credential_is_told(bare, service, status, code, said):
    for request in (bare.prepare, lambda: bare.create("a", [b"1"])):
        service.arm(*(Fault(method, status=status, message="no", reason=code) for method in ("GET", "PUT")))
        with pytest.raises(PermissionDeniedError, match=rf"no \({status}\): .*{said}"):
            request()
        service.faults.clear()


@pytest.mark.parametrize("code", ["UnauthorizedBlobOverwrite", "AuthorizationPermissionMismatch"])
def test_who_may_not_overwrite_is_told_that_the_object_exists(bare, service, code):
    service.create_only, service.overwriting = True, code
    bare.create("a", [b"1"])
    with pytest.raises(ObjectExistsError):
        bare.create("a", [b"2"])
    rights = bare.rights(trial=True)
    assert (rights.missing, rights.too_many) == ((), ())


def test_a_container_that_is_being_deleted_is_waited_for(bare, service):
    service.bucket_exists = False
    service.arm(Fault("PUT", status=409, message="is being deleted", reason="ContainerBeingDeleted"))
    with pytest.raises(TransientError, match="being deleted"):
        bare.prepare()


def test_a_policy_that_keeps_objects_is_named(bare, service):
    service.objects["a"] = CONTENT
    service.arm(Fault("DELETE", status=409, message="no", reason="BlobImmutableDueToPolicy"))
    with pytest.raises(PermissionDeniedError, match="a policy of the container keeps it"):
        bare.delete("a")


def test_a_hierarchical_namespace_is_refused(bare, service, monkeypatch):
    monkeypatch.setattr(service, "hierarchical", True)
    requests = [bare.prepare, lambda: bare.rights(trial=True), lambda: list(bare.list(""))]
    for request in requests:
        with pytest.raises(StoreUnavailableError, match=f"{ACCOUNT} has a hierarchical namespace"):
            request()


def test_a_credential_that_may_not_ask_about_the_account_may_go_on(bare, service):
    service.arm(Fault("GET", "slow"), Fault("GET", status=403))
    bare.prepare()
    assert len(service.requests) == 2


def test_a_store_with_objects_in_it_needs_no_question_about_the_account(bare, service):
    service.objects["a"] = CONTENT
    bare.prepare()
    assert len(service.requests) == 1


@pytest.mark.parametrize("request_", [lambda store: list(store.list("")), lambda store: store.stat("a")])
def test_an_answer_that_makes_no_sense_is_asked_for_again(bare, service, monkeypatch, request_):
    monkeypatch.setattr(service, "answer", lambda *_: (200, {}, b"<html>a login page</html>"))
    with pytest.raises(TransientError, match="makes no sense"):
        request_(bare)


def test_a_redirect_is_not_followed(bare, service):
    service.arm(Fault("GET", status=307, message="elsewhere", headers={"Location": "http://127.0.0.1:9/"}))
    with pytest.raises(StoreUnavailableError, match=r"elsewhere \(307\)"):
        bare.read("a")


def test_an_account_that_does_not_exist_is_named(tmp_path, monkeypatch):
    def knows_no_name(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(socket, "getaddrinfo", knows_no_name)  # a real one may take its time
    (tmp_path / "key").write_text(f"AZURE_STORAGE_KEY={SECRET}\n")
    store = AzureBackend("bucket", account="nosuchaccount", credentials=tmp_path / "key")
    said = (
        r"nosuchaccount\.blob\.core\.windows\.net can not be reached: Name .* is there a storage account nosuchaccount"
    )
    for request in (store.prepare, lambda: store.create("a", [bytes(1 << 20)])):
        with pytest.raises(TransientError, match=said):
            request()
    store.close()


@pytest.mark.parametrize("kind", ["short", "drop", "refuse"])
def test_a_token_in_a_url_is_in_no_error(service, tmp_path, kind):
    canary = "SIGNATURE%2Bcanary"
    (tmp_path / "token").write_text(f"AZURE_STORAGE_SAS_TOKEN=sv=2023-11-03&sig={canary}\n")
    store = AzureBackend(BUCKET, account=ACCOUNT, endpoint=service.account, credentials=tmp_path / "token", timeout=2)
    service.objects["a"] = CONTENT
    for method, request in (("GET", lambda: store.read("a")), ("PUT", lambda: store.create("b", [b"1"]))):
        service.arm(*[Fault(method, kind, status=418)] * 2)
        try:
            request()
        except StoreUnavailableError as error:
            chain = [error]
            while chain[-1].__cause__ or chain[-1].__context__:
                chain.append(chain[-1].__cause__ or chain[-1].__context__)
            assert "SIGNATURE" not in "".join(map(repr, chain))
        service.faults.clear()
    assert all(canary in target for _, target in service.requests)
    store.close()


def test_a_login_sends_its_token_and_nothing_else_of_its_own(service, monkeypatch):
    login = pytest.importorskip("studio_cas.backends.azure_login")
    token = SimpleNamespace(token="of-the-login", expires_on=4_000_000_000)
    monkeypatch.setattr(login, "DefaultAzureCredential", lambda: SimpleNamespace(get_token=lambda _: token))
    for name in ("AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING"):
        monkeypatch.delenv(name, raising=False)
    seen, answer = set(), service.answer

    def noted(method, target, headers, body):
        seen.add(headers.get("Authorization"))
        return answer(method, target, headers, body)

    monkeypatch.setattr(service, "answer", noted)
    store = AzureBackend(BUCKET, account=ACCOUNT, endpoint=service.account, timeout=TIMEOUT)
    store.prepare()
    store.create("a", [CONTENT])
    assert bytes(store.read("a")) == CONTENT
    assert seen == {"Bearer of-the-login"}
    store.close()


def test_a_whole_object_may_come_without_a_range(bare, service, monkeypatch):
    monkeypatch.setattr(service, "answer", lambda *_: (200, {"x-ms-blob-type": "BlockBlob"}, CONTENT))
    assert bytes(bare.read("a")) == CONTENT
    with pytest.raises(TransientError, match="incomplete"):
        bare.read("a", 1, 5)
