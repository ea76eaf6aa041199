"""Asking a run to stop."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys

import pytest

from studio_cas.errors import UsageError
from studio_cas.experiment.lifecycle import Status, fold
from studio_cas.experiment.records import stop_requested
from studio_cas.experiment.stopping import script_here, stop_run
from studio_cas.formats.experiment import Ended, Started


@pytest.fixture
def script():
    """A script in a group of its own, which says what interrupted it; as a run would start it."""
    started = []

    def script(experiment="exp", ignore=""):
        program = (
            "import signal, sys, time\n"
            "def told(number, frame): print(signal.Signals(number).name, flush=True); sys.exit()\n"
            "for name in ('SIGINT', 'SIGTERM'):\n"
            f"    signal.signal(getattr(signal, name), signal.SIG_IGN if name == {ignore!r} else told)\n"
            "print('ready', flush=True)\ntime.sleep(60)"
        )
        environment = {**os.environ, "STUDIOML_EXPERIMENT": experiment}
        process = subprocess.Popen(
            [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, process_group=0
        )
        started.append(process)
        assert process.stdout.readline() == b"ready\n"
        return process

    yield script
    for process in started:
        process.kill()
        process.communicate()


def running(created, pid, **changes):
    started = Started(created.time, socket.gethostname(), pid, "linux", "python", "3.11", **changes)
    return fold(created, started, None, None, created.time + 1)


@pytest.mark.parametrize(("ignore", "name"), [("", b"SIGINT\n"), ("SIGINT", b"SIGTERM\n")])
def test_a_script_on_this_machine_is_interrupted_and_the_record_says_who_asked(store, record, script, ignore, name):
    created, process = record(), script(ignore=ignore)
    result = stop_run(store.backend, running(created, process.pid), "ben")
    assert result.process == process.pid
    assert process.communicate(timeout=60)[0] == name
    assert stop_requested(store.backend, created).user == "ben"


def test_the_runner_is_interrupted_where_there_is_one(store, record, script, monkeypatch):
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    process = script()
    result = stop_run(store.backend, running(record(), process.pid, runner=os.getpid()), "ben")
    assert sent == [(os.getpid(), signal.SIGINT)]
    assert result.process == os.getpid()


def test_a_process_that_is_another_ones_is_left_alone(store, record, script):
    process = script("another")
    created = record()
    for attempt in (running(created, process.pid), running(created, 2**22 + 1)):
        assert script_here(attempt) is None
        assert stop_run(store.backend, attempt, "ben").process is None
    assert process.poll() is None


def test_a_run_elsewhere_gets_the_record_alone(store, record, script):
    created, process = record(), script()
    attempt = running(created, process.pid)
    elsewhere = dataclasses.replace(attempt, started=dataclasses.replace(attempt.started, host="elsewhere"))
    assert stop_run(store.backend, elsewhere, "ben").process is None
    assert process.poll() is None
    assert stop_run(store.backend, elsewhere, "anna").stop.user == "ben"  # the first who asks


@pytest.mark.parametrize(("status", "text"), [("finished", "it finished"), ("stopped", "it was stopped")])
def test_what_has_ended_cannot_be_stopped(store, record, status, text):
    created = record()
    attempt = fold(created, None, None, Ended(1.0, status, 0), 2.0)
    with pytest.raises(UsageError, match=f"exp@1 has ended: {text}"):
        stop_run(store.backend, attempt, "ben")
    assert attempt.status is Status(status)
    assert stop_requested(store.backend, created) is None
