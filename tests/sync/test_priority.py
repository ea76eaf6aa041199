"""A daemon stands back behind the script, also where the system shares the processor among sessions first."""

import subprocess
import sys
from pathlib import Path

import pytest

from studio_cas.sync.priority import NICE

SHOW = """
import os, threading, time
from pathlib import Path
from studio_cas.sync.priority import stand_back
threading.Thread(target=time.sleep, args=(1,), daemon=True).start()
stand_back()
threads = [os.getpriority(os.PRIO_PROCESS, each.native_id) for each in threading.enumerate()]
print(threads, Path("/proc/self/autogroup").read_text())
"""


@pytest.fixture(autouse=True)
def sessions():
    if not Path("/proc/self/autogroup").exists():
        pytest.skip("this system does not share the processor among sessions")


def shown(*, own_session):
    done = subprocess.run(
        [sys.executable, "-c", SHOW], start_new_session=own_session, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_session_of_its_own_stands_back_as_a_whole():
    told = shown(own_session=True)
    assert f"[{NICE}, {NICE}]" in told
    assert told.rstrip().endswith(f"nice {NICE}")


def test_the_session_of_a_person_keeps_its_priority():
    """`studio sync` in a terminal: the shell, and what else was begun there, is in the same session."""
    ours = Path("/proc/self/autogroup").read_text().strip()  # nothing, for a session that shares in no such group
    told = shown(own_session=False)
    assert f"[{NICE}, {NICE}]" in told
    assert told.partition("] ")[2].strip() == ours
