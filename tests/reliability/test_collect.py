"""Writers, collectors and removals at once, some of them killed: one round; `soak_collect.py` plays many."""

from __future__ import annotations

import pytest
from tests.reliability.soak_collect import Soak


@pytest.mark.own_store
def test_what_was_acknowledged_is_whole_whoever_was_killed(tmp_path):
    soak = Soak(tmp_path, seed=1)
    for kills in (0.0, 0.5):
        soak.round(writers=2, collectors=1, kills=kills)
    soak.end()
    assert len(soak.acknowledged) > 2
    assert soak.verified > 0
