"""Some seconds of the soak (soak_torn.py): whoever writes beside a daemon, no version has a torn file."""

import pytest
from tests.reliability.soak_torn import DATABASES, soak


@pytest.mark.own_store
def test_no_version_has_a_torn_file(tmp_path):
    versions, states = soak(tmp_path, 12)
    assert versions > 3
    assert sum(states.values()) > 30
    assert {*DATABASES, "in_place", "truncated", "replaced", "resized"} <= states.keys()
