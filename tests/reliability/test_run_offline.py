"""`studio run` whose store goes away before the last captures: it ends soon, says what became of them, loses nothing.

What could be kept is sent, or captured, by `studio sync --resume` when the store is well again.
"""

import json
import shutil
import subprocess

import pytest
from tests.reliability.daemons import wait_until
from tests.reliability.test_full_disk import MIB, ballast, small  # noqa: F401  # a fixture

from studio_cas.testing.faulty_gcs import FaultyGcs
from studio_cas.testing.faulty_http import BUCKET, Fault, serve

SCRIPT = """
import pathlib, random, sys, time
base = pathlib.Path(sys.argv[1])
(base / "w" / "before").write_bytes(b"before")
while not (base / "go").exists():
    time.sleep(0.02)
(base / "w" / "after").write_bytes(random.Random(1).randbytes(int(sys.argv[3])))
print("done")
sys.exit(int(sys.argv[2]))
"""
DEADLINE = 120.0
CREDENTIAL = Fault("GET", "refuse", 403, "the credential was revoked", "forbidden")


class Run:
    """One run in one experiment, `exp`, that captures `w`; `end` lets its script come to its end."""

    def __init__(self, machine, *, code=0, size=1000):
        self.machine = machine
        base = machine.base
        (base / "w").mkdir()
        (base / "train.py").write_text(SCRIPT)
        options = ("-e", "exp", "-c", f"{base}/w:w", "--no-workspace", "--interval", "1s")
        self.process = subprocess.Popen(
            machine.command("run", *options, base / "train.py", base, code, size),
            env=machine.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        machine.processes.append(self.process)
        wait_until(lambda: any(row["version"] for row in machine.status() if row["tag"] == "w"), "a first version")

    def end(self):
        (self.machine.base / "go").touch()
        out, err = self.process.communicate(timeout=DEADLINE)
        assert "Traceback" not in err
        assert out == "done\n"
        return self.process.returncode, err

    def resume(self):
        done = self.machine.call("sync", "--resume")
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    def assert_all_is_there(self, status="finished", code=0):
        shown = json.loads(self.machine.call("runs", "show", "exp", "--json").stdout)
        assert (shown["status"], shown["exit_code"]) == (status, code)
        out = self.machine.base / "out"
        pulled = self.machine.call("pull", "exp/w", out)
        assert pulled.returncode == 0, pulled.stderr
        assert {path.name: path.read_bytes() for path in out.iterdir()} == {
            path.name: path.read_bytes() for path in (self.machine.base / "w").iterdir()
        }
        assert self.machine.call("cat", "exp/output").stdout == "done\n"
        assert "nothing is kept up to date" in self.machine.call("sync", "status").stdout
        assert self.resume()[0] == 0


@pytest.fixture
def cloud(machine):
    with serve(FaultyGcs) as server:
        machine.environment |= {"STUDIOML_STORE": f"gs://{BUCKET}/p", "STORAGE_EMULATOR_HOST": server.endpoint}
        yield server


def test_a_bucket_that_is_deleted_during_a_run(machine, cloud):
    run = Run(machine, code=5)
    cloud.bucket_exists = False
    returned, told = run.end()
    assert returned == 5
    assert f"wait on this machine for gs://{BUCKET}/p" in told
    assert "does not exist" in told
    returned, told = run.resume()
    assert returned == 3
    cloud.bucket_exists = True
    returned, told = run.resume()
    assert returned == 0, told
    run.assert_all_is_there("failed", 5)


def test_a_credential_that_is_revoked_during_a_run(machine, cloud):
    run = Run(machine)
    cloud.plan(CREDENTIAL, 0, forever=True)
    returned, told = run.end()
    assert returned == 0
    assert f"wait on this machine for gs://{BUCKET}/p" in told
    assert "revoked" in told
    assert run.resume()[0] == 3
    cloud.calm()
    assert run.resume()[0] == 0
    run.assert_all_is_there()


@pytest.mark.own_store
def test_a_store_in_a_folder_that_goes_during_a_run(machine, tmp_path):
    run = Run(machine)
    machine.store.rename(tmp_path / "away")
    returned, told = run.end()
    assert returned == 8
    assert "w was not captured: the store" in told
    assert f"it is still in {tmp_path / 'w'}" in told
    assert "studio sync --resume" in told
    assert run.resume()[0] != 0
    shutil.rmtree(machine.store, ignore_errors=True)
    (tmp_path / "away").rename(machine.store)
    returned, told = run.resume()
    assert returned == 0, told
    run.assert_all_is_there()


def test_a_store_on_a_disk_that_is_full_at_the_end_of_a_run(machine, small):  # noqa: F811
    machine.store = small / "store"
    machine.environment["STUDIOML_STORE"] = str(machine.store)
    run = Run(machine, size=2 * MIB)
    filler = ballast(small, 0)
    returned, told = run.end()
    assert returned == 8
    assert "No space left on device" in told
    assert f"it is still in {machine.base / 'w'}" in told
    assert run.resume()[0] == 7
    filler.unlink()
    returned, told = run.resume()
    assert returned == 0, told
    run.assert_all_is_there()


def test_a_store_that_is_away_and_no_room_to_keep_what_waits(machine, cloud, small):  # noqa: F811
    machine.home = small / "home"
    machine.environment["STUDIOML_HOME"] = str(machine.home)
    run = Run(machine, size=3 * MIB)
    cloud.bucket_exists = False
    filler = ballast(small, MIB)
    returned, told = run.end()
    assert returned == 8, told
    assert f"it is still in {machine.base / 'w'}" in told
    filler.unlink()
    cloud.bucket_exists = True
    returned, told = run.resume()
    assert returned == 0, told
    run.assert_all_is_there()
