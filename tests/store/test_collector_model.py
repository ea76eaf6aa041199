"""The small cases of the model of writers beside collectors; the long ones are a command of their own."""

import pytest
from tests.store.collector_model import CASES, LOSING_CASES, explore


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_interleaving_loses_a_version_that_was_acknowledged(case):
    safe, states, trace = explore(**case)
    assert safe, trace
    assert states > 50


@pytest.mark.parametrize("case", LOSING_CASES, ids=str)
def test_each_step_of_the_protocol_is_needed(case):
    safe, _, trace = explore(**case)
    assert not safe
    assert len(trace) > 5
