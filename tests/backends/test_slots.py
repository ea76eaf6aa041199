"""The number of requests that are under way at once follows what the service can take."""

import threading
from contextlib import suppress

import pytest

from studio_cas.backends.answers import RefusalError
from studio_cas.backends.slots import Slots
from studio_cas.errors import TransientError

PATIENCE = 30.0  # seconds that a thread may take on a busy machine


def refusal(status, means="passing"):
    return RefusalError(status, "", "", means)


def send(slots, error=None):
    with suppress(RefusalError, TransientError), slots.hold():
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [refusal(429), refusal(503), refusal(403)])
def test_a_busy_service_halves_the_limit_down_to_one(error):
    slots = Slots(32)
    limits = []
    for _ in range(7):
        send(slots, error)
        limits.append(slots.limit)
    assert limits == [16, 8, 4, 2, 1, 1, 1]


@pytest.mark.parametrize(
    "error", [refusal(500), refusal(404, "other"), refusal(403, "denied"), TransientError("reset")]
)
def test_other_failures_leave_it_as_it_is(error):
    slots = Slots(32)
    send(slots, error)
    assert slots.limit == 32


def test_a_round_of_answers_adds_one_up_to_the_most():
    slots = Slots(8)
    for _ in range(3):
        send(slots, refusal(429))
    limits = []
    for _ in range(4):
        for _ in range(slots.limit + 1):
            send(slots)
        limits.append(slots.limit)
    assert limits == [2, 3, 4, 5]
    for _ in range(100):
        send(slots)
    assert slots.limit == 8


def test_a_burst_of_refusals_halves_once():
    slots = Slots(8)
    flights = [slots.hold() for _ in range(8)]
    for flight in flights:
        flight.__enter__()
    for flight in flights:
        error = refusal(429)
        assert not flight.__exit__(type(error), error, None)
    assert slots.limit == 4


def test_no_more_are_under_way_than_the_limit_says():
    slots = Slots(8)
    send(slots, refusal(429))
    send(slots, refusal(429))
    inside = threading.Barrier(2)  # who is alone there breaks it
    flying, most, lock = 0, 0, threading.Lock()

    def work():
        nonlocal flying, most
        with slots.hold():
            with lock:
                flying += 1
                most = max(most, flying)
            inside.wait(PATIENCE)
            with lock:
                flying -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert (flying, most) == (0, 2)


def test_who_waits_goes_on_when_a_slot_is_free():
    slots = Slots(1)
    done = threading.Event()

    def work():
        with slots.hold():
            done.set()

    with slots.hold():
        thread = threading.Thread(target=work)
        thread.start()
        assert not done.wait(0.05)
    assert done.wait(PATIENCE)
    thread.join()
