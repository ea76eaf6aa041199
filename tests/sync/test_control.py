"""The protocol between a daemon and those who ask."""

import contextlib
import selectors
import socket
import threading

import pytest

from studio_cas.errors import ConflictError, NoSpaceError, NotFoundError, StudioError, TransientError
from studio_cas.sync.control import DaemonGoneError, Door, ask, error_of


@contextlib.contextmanager
def daemon(path, serve):
    """A loop in a thread that gives each request to `serve`."""
    selector = selectors.DefaultSelector()
    wake, woken = socket.socketpair()
    selector.register(woken, selectors.EVENT_READ)
    door = Door(path, selector)

    def run():
        while True:
            for key, _ in selector.select():
                if key.fileobj is woken:
                    return
                for request, asker in door.ready(key.fileobj):
                    serve(request, asker)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        wake.close()
        thread.join()
        door.close()
        selector.close()
        woken.close()


def test_an_answer_comes_after_its_progress(tmp_path):
    def serve(request, asker):
        asker.answer(progress=1)
        asker.answer(progress=2)
        asker.answer(done=True, echo=request["word"])
        asker.close()

    told = []
    with daemon(tmp_path / "control", serve):
        answer = ask(tmp_path / "control", {"ask": "x", "word": "é\udcff"}, progress=told.append)
    assert answer["echo"] == "é\udcff"
    assert [row["progress"] for row in told] == [1, 2]


def test_an_error_is_raised_as_it_was(tmp_path):
    def serve(request, asker):
        asker.refuse(ConflictError("taken"))

    with daemon(tmp_path / "control", serve), pytest.raises(ConflictError, match="taken"):
        ask(tmp_path / "control", {"ask": "x"})


def test_a_path_that_is_too_long_for_a_socket_works(tmp_path):
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    with daemon(folder / "control", lambda request, asker: (asker.answer(done=True), asker.close())):
        assert ask(folder / "control", {"ask": "x"})["done"]


def test_nobody_waits_for_a_daemon_that_is_not_there(tmp_path):
    with pytest.raises(DaemonGoneError):
        ask(tmp_path / "none", {"ask": "x"})
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "s"))
    left.close()
    with pytest.raises(DaemonGoneError):
        ask(tmp_path / "s", {"ask": "x"})


def test_nobody_waits_for_a_daemon_that_hangs_up(tmp_path):
    with daemon(tmp_path / "control", lambda request, asker: asker.close()), pytest.raises(DaemonGoneError):
        ask(tmp_path / "control", {"ask": "x"})


def test_a_daemon_that_does_not_answer_is_an_error_that_says_how_long(tmp_path):
    kept = []
    with (
        daemon(tmp_path / "control", lambda request, asker: kept.append(asker)),
        pytest.raises(TransientError, match=r"within 0\.2 s"),
    ):
        ask(tmp_path / "control", {"ask": "x"}, timeout=0.2)
    kept[0].answer(done=True)  # nobody takes it any more
    kept[0].close()


@pytest.mark.parametrize("words", [b"\n", b"nonsense\n", b"[]\n", b"half", b""])
def test_who_talks_nonsense_is_hung_up_on(tmp_path, words):
    served = []

    def serve(request, asker):
        served.append(request)
        asker.answer(done=True)
        asker.close()

    with daemon(tmp_path / "control", serve):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "control"))
            client.sendall(words)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(10) == b""
        assert ask(tmp_path / "control", {"ask": "x"})["done"]
    assert served == [{"ask": "x"}]


@pytest.mark.parametrize("error", [NoSpaceError("a"), NotFoundError("b"), TransientError("c")])
def test_errors_keep_their_class(error):
    again = error_of(error.kind, str(error))
    assert (type(again), str(again)) == (type(error), str(error))


def test_an_unknown_kind_is_some_error():
    assert type(error_of("of tomorrow", "x")) is StudioError
