"""When the next cycle begins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio_cas.sync.debounce import FIRST_RETRY, LONGEST_RETRY, Debounce, Rhythm


@pytest.fixture
def debounce():
    """A folder with a period of a minute, that was captured from 0 to 1, and nothing was found."""
    debounce = Debounce(Rhythm(60, 2, 30), 0.0)
    run(debounce, 0.0, 1.0)
    return debounce


def run(debounce, began, ended, *, found=False, cost=0.0):
    debounce.begin(began)
    debounce.succeed(ended, found=found, cost=cost)


def test_the_first_cycle_comes_when_it_was_asked_for():
    assert Debounce(Rhythm(), 7.0).due() == 7.0


def test_a_quiet_folder_is_swept_once_a_period(debounce):
    assert debounce.due() == 60


def test_a_change_is_captured_when_it_has_settled(debounce):
    debounce.change(10)
    assert debounce.due() == 12
    debounce.change(11.5)
    assert debounce.due() == 13.5


def test_a_folder_that_never_settles_is_captured_after_half_a_minute(debounce):
    for second in range(10, 60):
        debounce.change(second)
    assert debounce.due() == 40


def test_changes_do_not_put_the_sweep_off(debounce):
    debounce.change(59)
    assert debounce.due() == 60


def test_a_change_during_a_cycle_is_for_the_next_one(debounce):
    debounce.change(10)
    debounce.begin(12)
    debounce.change(13)
    debounce.succeed(14, found=True, cost=0)
    assert debounce.due() == 15


def test_a_folder_that_tells_of_no_change_is_looked_at_sooner_while_it_is_busy(debounce):
    run(debounce, 60, 61, found=True)
    assert debounce.due() == 90
    run(debounce, 90, 91)
    assert debounce.due() == 150


def test_a_short_period_is_kept():
    debounce = Debounce(Rhythm(period=5), 0.0)
    run(debounce, 0, 1, found=True)
    assert debounce.due() == 5


def test_what_is_expensive_is_followed_by_a_rest(debounce):
    run(debounce, 60, 63, cost=2.0)
    debounce.change(64)
    assert debounce.due() == 103


def test_the_rest_is_no_longer_than_the_period(debounce):
    run(debounce, 60, 65, cost=500)
    debounce.change(66)
    assert debounce.due() == 120


def test_errors_are_tried_again_ever_more_seldom_whatever_changes(debounce):
    now, pauses = 60.0, []
    for _ in range(8):
        debounce.begin(now)
        debounce.fail(now)
        debounce.change(now + 0.1)
        pauses.append(debounce.due() - now)
        now = debounce.due()
    assert pauses == [FIRST_RETRY, 10, 20, 40, 80, LONGEST_RETRY, LONGEST_RETRY, LONGEST_RETRY]


def test_after_a_success_the_pauses_begin_anew(debounce):
    for at in (60, 65):
        debounce.begin(at)
        debounce.fail(at)
    run(debounce, 80, 81)
    debounce.begin(90)
    debounce.fail(90)
    assert debounce.due() == 90 + FIRST_RETRY


def test_what_failed_counts_as_changed(debounce):
    debounce.begin(60)
    debounce.fail(61)
    assert debounce.changed


def test_who_waits_does_not_wait_for_the_clock_nor_for_a_retry(debounce):
    debounce.begin(60)
    debounce.fail(60)
    debounce.hurry()
    assert debounce.due() <= 60
    debounce.begin(61)
    debounce.fail(61)
    assert debounce.due() > 61


@given(
    period=st.floats(1, 3600),
    steps=st.lists(st.tuples(st.floats(0.01, 100), st.sampled_from(["change", "cycle", "costly"]))),
)
def test_a_folder_without_errors_is_always_captured_at_the_period_and_within_the_limit(period, steps):
    rhythm = Rhythm(period)
    debounce = Debounce(rhythm, 0.0)
    now, began, first_change = 0.0, 0.0, None
    for pause, what in steps:
        now += pause
        assert debounce.due() <= began + period + 1e-6
        if first_change is not None and debounce._rest_until <= first_change:
            assert debounce.due() <= first_change + rhythm.latest + 1e-6
        if what == "change":
            debounce.change(now)
            first_change = first_change or now
        else:
            began, first_change = now, None
            run(debounce, now, now, cost=1.0 if what == "costly" else 0.0)


def test_a_folder_that_cannot_be_watched_is_looked_at_once_a_minute():
    debounce = Debounce(Rhythm(period=3600), 0.0)
    debounce.begin(0)
    debounce.succeed(1, found=False, cost=0, blind=True)
    assert debounce.due() == 60
    debounce.begin(60)
    debounce.succeed(61, found=False, cost=0)
    assert debounce.due() == 3660
