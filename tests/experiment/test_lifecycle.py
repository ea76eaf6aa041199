"""The status of an attempt, from its records."""

from __future__ import annotations

import pytest

from studio_cas.experiment.lifecycle import PATIENCE, Status, ending, fold
from studio_cas.formats.experiment import Created, Ended, Started

CREATED = Created("exp", 1, "anna", "host", 1000.0, ("train.py",), "/here", 60.0)
STARTED = Started(1001.0, "host", 7, "linux", "/usr/bin/python", "3.11.2")


def test_created_and_nothing_else_waits_however_long():
    assert fold(CREATED, None, None, None, 1e9).status is Status.WAITING


def test_started_runs():
    attempt = fold(CREATED, STARTED, None, None, 1010.0)
    assert (attempt.status, attempt.exit_code, attempt.seen) == (Status.RUNNING, None, 1001.0)


def test_a_heartbeat_keeps_it_running():
    attempt = fold(CREATED, STARTED, 5000.0, None, 5000.0 + PATIENCE)
    assert attempt.status is Status.RUNNING
    assert attempt.duration == 3999.0


def test_a_heartbeat_alone_says_that_it_runs():
    assert fold(CREATED, None, 1030.0, None, 1040.0).status is Status.RUNNING


def test_silence_is_lost():
    assert fold(CREATED, STARTED, 5000.0, None, 5001.0 + PATIENCE).status is Status.LOST


def test_heartbeats_come_as_often_where_captures_are_rare():
    slow = Created("exp", 1, "anna", "host", 1000.0, ("train.py",), "/here", 3600.0)
    assert fold(slow, STARTED, 5000.0, None, 5000.0 + PATIENCE).status is Status.RUNNING
    assert fold(slow, STARTED, 5000.0, None, 5001.0 + PATIENCE).status is Status.LOST


def test_a_clock_that_lags_behind_loses_nothing():
    assert fold(CREATED, STARTED, 5000.0, None, 10.0).status is Status.RUNNING


@pytest.mark.parametrize("status", [Status.FINISHED, Status.FAILED, Status.STOPPED])
def test_the_end_has_the_last_word(status):
    attempt = fold(CREATED, STARTED, 1060.0, Ended(1100.0, status, 3), 1e9)
    assert (attempt.status, attempt.exit_code, attempt.duration) == (status, 3, 99.0)


def test_a_status_that_a_newer_program_wrote_is_read_as_failed():
    assert fold(CREATED, STARTED, None, Ended(1100.0, "exploded", 3), 1e9).status is Status.FAILED


@pytest.mark.parametrize(
    ("code", "stop_asked", "status"),
    [
        (0, False, "finished"),
        (3, False, "failed"),
        (None, False, "failed"),
        (130, True, "stopped"),
        (0, True, "stopped"),
    ],
)
def test_how_it_ended(code, stop_asked, status):
    assert ending(code, stop_asked=stop_asked) == status
