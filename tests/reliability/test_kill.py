"""A few kills of the soak (soak_kill.py): whatever is killed, versions are whole, and the next try succeeds."""

import pytest
from tests.reliability.soak_kill import ACTIONS, Soak


@pytest.mark.parametrize("seed", [1, 2])
def test_versions_are_whole_whatever_was_killed(tmp_path, seed):
    soak = Soak(tmp_path, seed)
    for _ in range(8):
        soak.kill()
    soak.verify_all()
    assert set(soak.killed) == set(ACTIONS)
