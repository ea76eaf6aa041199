"""Locks that name their holder."""

import os
import signal
import subprocess
import sys

from studio_cas.sync import lock

HOLDER = """
import sys, time
from pathlib import Path
from studio_cas.sync import lock
hold = lock.take(Path(sys.argv[1]), {"pid": 1, "name": "child"})
print("held" if hold else "refused", flush=True)
time.sleep(60)
"""


def test_a_lock_that_nobody_holds_has_no_holder(tmp_path):
    assert lock.holder(tmp_path / "lock") is None
    (tmp_path / "lock").write_text("{")
    assert lock.holder(tmp_path / "lock") is None


def test_the_second_is_refused_and_told_who_holds_it(tmp_path):
    hold = lock.take(tmp_path / "lock", {"pid": 7})
    assert lock.take(tmp_path / "lock", {"pid": 8}) is None
    assert lock.holder(tmp_path / "lock") == {"pid": 7}
    hold.release()
    assert lock.holder(tmp_path / "lock") is None
    again = lock.take(tmp_path / "lock", {"pid": 123456789})
    assert lock.holder(tmp_path / "lock") == {"pid": 123456789}
    again.release()


def test_a_killed_holder_holds_nothing(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "lock"], stdout=subprocess.PIPE)
    with child:
        assert child.stdout.readline() == b"held\n"
        assert lock.holder(tmp_path / "lock") == {"pid": 1, "name": "child"}
        os.kill(child.pid, signal.SIGKILL)
    hold = lock.take(tmp_path / "lock", {})
    assert hold is not None
    hold.release()


def test_one_who_looks_does_not_keep_others_from_it(tmp_path):
    (tmp_path / "lock").touch()
    for _ in range(200):
        assert lock.holder(tmp_path / "lock") is None
        hold = lock.take(tmp_path / "lock", {})
        assert hold is not None
        hold.release()
