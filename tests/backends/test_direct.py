"""Large requests, which the thread that asks sends and receives itself."""

import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.oauth2.credentials import Credentials

from studio_cas.backends import direct
from studio_cas.backends.direct import LARGE, CutOffError, Direct, Request, UnreachableError, proxied
from studio_cas.backends.gcs import GcsBackend
from studio_cas.errors import NotFoundError, ObjectExistsError, StoreUnavailableError, TransientError
from studio_cas.testing.faulty_gcs import FaultyGcs
from studio_cas.testing.faulty_http import BUCKET, Fault, serve

CONTENT = random.Random(5).randbytes(3 * LARGE + 17)


def kind_of(request):
    """Which service a fixture is asked for."""
    if request.param == "gcs":
        return FaultyGcs
    pytest.importorskip("s3fs")
    request.getfixturevalue("models_are_read_once")
    from studio_cas.testing.faulty_s3 import FaultyS3

    return FaultyS3


def opened(service, keys):
    """A backend at it."""
    if isinstance(service, FaultyGcs):
        return GcsBackend(BUCKET, endpoint=service.endpoint, timeout=2.0)
    from studio_cas.backends.s3 import S3Backend

    return S3Backend(BUCKET, endpoint=service.endpoint, credentials=keys(), timeout=2.0)


@pytest.fixture(params=["gcs", "s3"])
def service(request):
    with serve(kind_of(request)) as running:
        yield running


@pytest.fixture
def backend(service, keys):
    store = opened(service, keys)
    yield store
    store.close()


@pytest.fixture
def sent(monkeypatch):
    """What went on connections of our own: method, and size of the body."""
    found = []
    exchange = Direct.exchange

    def noted(self, request):
        found.append((request.method, sum(map(len, request.body)) // LARGE))
        return exchange(self, request)

    monkeypatch.setattr(Direct, "exchange", noted)
    return found


@pytest.fixture
def asked():
    """Something to ask with, in a hurry."""
    found = Direct(connect=0.5, patience=0.5, longest=5.0)
    yield found
    found.close()


@contextmanager
def answering(*scripts):
    """A server that treats one connection after the other as a script says; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def attend():
            for script in scripts:
                connection, _ = listening.accept()
                with connection:
                    connection.settimeout(10)
                    script(connection)

        thread = threading.Thread(target=attend)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/a?b=c"
        thread.join()


def heard(connection):
    """The head of a request."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    return data


def says(*answers):
    """A script: an answer to each request, then the end."""

    def script(connection):
        for answer in answers:
            heard(connection)
            connection.sendall(answer)

    return script


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_only_what_is_large_goes_on_connections_of_its_own(backend, service, sent):
    service.objects["a"] = CONTENT
    for offset, length in ((0, LARGE), (LARGE - 1, 2 * LARGE), (3 * LARGE, LARGE), (5 * LARGE, LARGE)):
        assert bytes(backend.read("a", offset, length)) == CONTENT[offset : offset + length]
    assert bytes(backend.read_tail("a", LARGE)[0]) == CONTENT[-LARGE:]
    backend.create("b", [CONTENT[:5], memoryview(CONTENT)[5 : 2 * LARGE], CONTENT[2 * LARGE :]])
    assert sent == [("GET", 0)] * 5 + [("POST" if isinstance(service, FaultyGcs) else "PUT", 3)]
    assert service.objects["b"] == CONTENT
    assert bytes(backend.read("a", 7, LARGE - 1)) == CONTENT[7 : LARGE + 6]
    assert bytes(backend.read("a")) == CONTENT
    backend.create("c", [CONTENT[: LARGE // 2]])
    backend.stat("c")
    assert len(sent) == 6


def test_refusals_are_told_as_ever(backend):
    backend.create("a", [CONTENT])
    with pytest.raises(ObjectExistsError, match="a exists already"):
        backend.create("a", [CONTENT])
    with pytest.raises(NotFoundError, match="there is no object b"):
        backend.read("b", 0, LARGE)


@pytest.fixture
def with_token(monkeypatch):
    """Open a backend with a token in place of a credentials file."""

    def open_(service, token):
        key = Credentials(token)
        monkeypatch.setattr(key, "refresh", lambda _: None)
        monkeypatch.setattr("studio_cas.backends.gcs_credentials.load", lambda _: (key, "p"))
        return GcsBackend(BUCKET, credentials=Path("key"), endpoint=service.endpoint, timeout=0.3)

    return open_


@pytest.mark.parametrize("kind", ["refuse", "lose", "reset", "hang", "short", "less"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_token_goes_along_and_is_never_told(with_token, caplog, kind, method):
    with serve(FaultyGcs) as service:
        store = with_token(service, "a-canary")
        service.objects["a"] = CONTENT
        service.arm(Fault(method, kind, status=401))
        with pytest.raises(StoreUnavailableError) as caught:
            store.read("a", 0, LARGE) if method == "GET" else store.create("b", [CONTENT])
        assert service.heard["authorization"] == "Bearer a-canary"
        told = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=False).format())
        assert "canary" not in told + caplog.text
        store.close()


def test_a_token_that_can_not_be_sent_is_not_told_either(with_token):
    with serve(FaultyGcs) as service:
        store = with_token(service, "a-canary\nwith two lines")
        with pytest.raises(StoreUnavailableError, match="a header of the request can not be sent") as caught:
            store.read("a", 0, LARGE)
        assert "canary" not in "".join(traceback.format_exception(caught.value))
        assert service.requests == []
        store.close()


def test_nothing_is_said_at_the_end_of_a_process_that_closed_nothing():
    with serve(FaultyGcs) as service:
        service.objects["a"] = CONTENT
        code = (
            f"from studio_cas.backends.gcs import GcsBackend; store = GcsBackend({BUCKET!r}, "
            f"endpoint={service.endpoint!r}); print(len(store.read('a', 0, {LARGE})))"
        )
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{LARGE}\n", "")


def test_many_threads_share_connections(backend, service):
    service.objects["a"] = CONTENT
    wrong = []

    def read(number):
        got = [bytes(backend.read("a", number + offset, LARGE)) for offset in range(5)]
        wrong.extend(piece for at, piece in enumerate(got, number) if piece != CONTENT[at : at + LARGE])

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = backend._client._direct._idle.kept
    assert not wrong
    assert 1 <= sum(map(len, kept.values())) <= 4


def test_an_answer_that_stops_in_the_middle_is_cut_off(backend, service):
    service.objects["a"] = CONTENT
    service.arm(Fault("GET", "short"))
    with pytest.raises(TransientError, match="was cut off"):
        backend.read("a", 0, LARGE)
    assert bytes(backend.read("a", 0, LARGE)) == CONTENT[:LARGE]


def test_an_interrupt_reaches_the_thread_that_reads(backend, service):
    service.objects["a"] = CONTENT
    backend.read("a", 0, LARGE)
    service.arm(Fault("GET", "hang"))
    ours = threading.get_ident()

    def interrupt():
        while service.faults:
            time.sleep(0.01)
        signal.pthread_kill(ours, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        backend.read("a", 0, LARGE)
    thread.join()
    service.calm()
    assert bytes(backend.read("a", 0, LARGE)) == CONTENT[:LARGE]


def test_a_kept_connection_that_was_closed_costs_a_get_nothing(asked):
    with answering(says(OK), says(OK)) as url:
        request = Request("GET", url, {})
        assert bytes(asked.exchange(request).body) == b"ok"
        time.sleep(0.05)  # until the end of the connection has come
        assert bytes(asked.exchange(request).body) == b"ok"


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_request_that_a_kept_connection_swallows_is_repeated_only_where_it_is_a_get(asked, method):
    def twice(connection):
        says(OK)(connection)
        heard(connection)

    with answering(twice, *([says(OK)] if method == "GET" else [])) as url:
        asked.exchange(Request(method, url, {}))
        if method == "GET":
            assert bytes(asked.exchange(Request(method, url, {})).body) == b"ok"
        else:
            with pytest.raises(ConnectionError):
                asked.exchange(Request(method, url, {}))


def test_a_connection_that_was_idle_for_long_is_not_used(asked, monkeypatch):
    monkeypatch.setattr(direct, "_IDLE_SECONDS", 0.0)
    with answering(says(OK), says(OK)) as url:
        assert asked.exchange(Request("GET", url, {})).status == 200
        assert asked.exchange(Request("GET", url, {})).status == 200


def test_a_small_request_closes_what_was_idle_for_long(backend, service, monkeypatch):
    service.objects["a"] = CONTENT
    backend.read("a", 0, LARGE)
    idle = backend._client._direct._idle
    backend.stat("a")
    assert sum(map(len, idle.kept.values())) == 1
    monkeypatch.setattr(direct, "_IDLE_SECONDS", 0.0)
    backend.stat("a")
    assert sum(map(len, idle.kept.values())) == 0


def test_a_service_that_is_not_there_is_named(backend, service, monkeypatch):
    service.objects["a"] = CONTENT
    backend.read("a", 0, LARGE)
    backend._client._direct.close()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        family = (socket.AF_INET, socket.SOCK_STREAM, 6, "", unused.getsockname())
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [family])
        with pytest.raises(TransientError, match=f"{service.endpoint} can not be reached: Connection refused"):
            backend.read("a", 0, LARGE)


def test_a_server_that_refuses_in_mid_upload_is_heard(asked):
    def refuse(connection):
        heard(connection)
        connection.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        connection.shutdown(socket.SHUT_RD)
        while connection.recv(1 << 20):
            pass

    with answering(refuse) as url:
        answer = asked.exchange(Request("PUT", url, {"Content-Length": str(len(CONTENT))}, [CONTENT]))
        assert (answer.status, bytes(answer.body)) == (403, b"no")


def test_a_server_that_takes_nothing_more_counts_as_lost(asked):
    over = threading.Event()
    many = [bytes(4 << 20)] * 8  # more than the buffers of a connection
    with answering(lambda _: over.wait(10)) as url:
        with pytest.raises(TimeoutError):
            asked.exchange(Request("PUT", url, {"Content-Length": str(32 << 20)}, many))
        over.set()


def test_a_trickle_ends_as_well(monkeypatch):
    asked = Direct(connect=0.5, patience=5.0, longest=0.2)
    monkeypatch.setattr(direct, "_SLICE", 1)

    def trickle(connection):
        heard(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        with suppress(OSError):
            for _ in range(100):
                connection.sendall(b"x" * 3)
                time.sleep(0.05)

    with answering(trickle) as url, pytest.raises(TimeoutError):
        asked.exchange(Request("GET", url, {}, most=1000))


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 200, b"abc"),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", 200, b"to the end"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000000\r\n\r\nx", 200, b""),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", 503, b"busy"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc", 200, b"abc"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 500000\r\n\r\n" + CONTENT[:500_000], 200, CONTENT[:500_000]),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b""),
    ],
)
def test_answers_of_other_shapes_are_read(asked, answer, status, body):
    with answering(says(answer)) as url:
        found = asked.exchange(Request("GET", url, {}, most=LARGE))
        assert (found.status, bytes(found.body)) == (status, body)


def test_a_refusal_of_an_upload_may_end_with_its_connection(asked):
    with answering(says(b"HTTP/1.0 403 No\r\n\r\nnot you")) as url:
        answer = asked.exchange(Request("PUT", url, {"Content-Length": "0"}))
        assert (answer.status, bytes(answer.body)) == (403, b"not you")


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-"])
def test_what_is_no_answer_to_an_upload_is_not_believed(asked, answer):
    with answering(says(answer)) as url, pytest.raises((ConnectionError, CutOffError)):
        asked.exchange(Request("PUT", url, {"Content-Length": "0"}))


def test_the_second_address_of_a_host_is_tried(asked, monkeypatch):
    with answering(says(OK)) as url:
        port = int(url.partition("1:")[2].partition("/")[0])
        family = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            dead = unused.getsockname()
            monkeypatch.setattr(
                socket, "getaddrinfo", lambda *_, **__: [(*family, dead), (*family, ("127.0.0.1", port))]
            )
            assert asked.exchange(Request("GET", url, {})).status == 200
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(*family, dead)])
            with pytest.raises(UnreachableError, match="refused"):
                asked.exchange(Request("GET", "http://elsewhere", {}))


def test_a_proxy_is_left_to_the_library(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert not proxied("https://storage.googleapis.com")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    assert proxied("https://storage.googleapis.com")
    assert not proxied("http://storage.googleapis.com")
    monkeypatch.setenv("no_proxy", "storage.googleapis.com")
    assert not proxied("https://storage.googleapis.com")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 and its key, in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    encoding = serialization.Encoding.PEM
    secret = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(signed.public_bytes(encoding) + secret)
    return file


@pytest.fixture(params=["gcs", "s3"])
def secure(request, certificate, keys):
    """A service behind TLS, and what opens a backend there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    kind = kind_of(request)
    with serve(kind, context=context) as running:
        yield running, partial(opened, running, keys)


def test_packs_go_over_tls_both_ways(secure, certificate, monkeypatch, sent):
    service, opening = secure
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    store = opening()
    store.create("a", [CONTENT])
    for _ in range(2):
        assert bytes(store.read("a", 0, 2 * LARGE)) == CONTENT[: 2 * LARGE]
    assert service.objects["a"] == CONTENT
    assert len(sent) == 3
    store.close()


def test_a_certificate_that_nobody_vouches_for_is_refused(secure, sent):
    service, opening = secure
    store = opening()
    with pytest.raises(StoreUnavailableError, match=r"can not be reached: .*CERTIFICATE_VERIFY_FAILED") as caught:
        store.read("a", 0, LARGE)
    assert not isinstance(caught.value, TransientError)
    assert service.requests == []
    assert len(sent) == 1
    store.close()
