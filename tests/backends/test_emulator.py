"""The emulator of the tests starts, keeps create-if-absent, and does not outlive those who started it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studio_cas.testing import gcs_emulator as emulator

STARTED = """
from studio_cas.testing.gcs_emulator import gcs_emulator
with gcs_emulator() as running:
    print(running.pid, flush=True)
    input()
"""


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(emulator.program() is None, reason="fake-gcs-server is not installed")
@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl and /proc")
@pytest.mark.parametrize("end", ["kill", "terminate", "finish"])
def test_it_ends_with_the_process_that_started_it(end):
    with subprocess.Popen([sys.executable, "-c", STARTED], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        assert lives(pid)
        if end == "finish":
            parent.stdin.write(b"\n")
            parent.stdin.flush()
        else:
            getattr(parent, end)()
    deadline = time.monotonic() + 10
    while lives(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
