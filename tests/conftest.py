"""Fixtures for all tests."""

import os
import shutil
import signal
import tempfile

import pytest

from studio_cas.testing import gcs_emulator as emulator
from studio_cas.testing import s3_server as s3


def pytest_addoption(parser):
    parser.addoption(
        "--least-privilege",
        action="store_true",
        help="run the command line on a bucket whose credential may create, read and list, and nothing else",
    )


def pytest_collection_modifyitems(config, items):
    if config.getoption("--least-privilege"):
        skip = pytest.mark.skip(reason="needs a store in a folder, or the right to delete")
        for item in items:
            if item.get_closest_marker("own_store"):
                item.add_marker(skip)


BYTECODE = pytest.StashKey[str]()


def pytest_sessionstart(session):
    """Ctrl-C can be tested also where the suite was started in the background, which makes its children ignore it.

    Where Python is told to leave no bytecode behind, each of some thousand child processes would compile the package
    anew: they share a folder that goes with the session.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.environ.get("PYTHONDONTWRITEBYTECODE") and not hasattr(session.config, "workerinput"):
        folder = session.config.stash[BYTECODE] = tempfile.mkdtemp(prefix="studio-bytecode-")
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        del os.environ["PYTHONDONTWRITEBYTECODE"]


def pytest_unconfigure(config):
    if BYTECODE in config.stash:
        shutil.rmtree(config.stash[BYTECODE], ignore_errors=True)


@pytest.fixture(scope="session")
def gcs_emulator():
    """A Google Cloud Storage emulator for the whole session; make a bucket of your own with `new_bucket()`."""
    if emulator.program() is None:
        pytest.skip("fake-gcs-server is not installed")
    with emulator.gcs_emulator() as running:
        yield running


@pytest.fixture(scope="session")
def s3_server():
    """An S3 server for the whole session; make a bucket of your own with `new_bucket()`."""
    if not s3.installed():
        pytest.skip("moto or s3fs is not installed")
    with s3.s3_server() as running:
        yield running
