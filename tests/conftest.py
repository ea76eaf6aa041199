"""Fixtures for all tests."""

import os
import shutil
import signal
import tempfile

import pytest
from tests.privilege import OPTION, create_only, create_only_bucket, move_folders_to

from studio_cas.testing import azure_emulator as azure
from studio_cas.testing import gcs_emulator as emulator
from studio_cas.testing import s3_server as s3


def pytest_addoption(parser):
    parser.addoption(
        OPTION,
        action="store_true",
        help="run what works with a store on a bucket whose credential may create, read and list, and nothing else",
    )


def pytest_collection_modifyitems(config, items):
    if create_only(config):
        skip = pytest.mark.skip(reason="needs a store in a folder, or the right to delete")
        for item in items:
            if item.get_closest_marker("own_store"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def _create_only_bucket(request):
    if not create_only(request.config):
        yield None
        return
    with create_only_bucket() as service:
        yield service


@pytest.fixture(autouse=True)
def _least_privilege(request, _create_only_bucket):
    """With `--least-privilege`, stores in folders are in a bucket."""
    if _create_only_bucket is not None and not request.path.is_relative_to(request.config.rootpath / "tests/backends"):
        move_folders_to(_create_only_bucket, request.getfixturevalue("monkeypatch"))


BYTECODE = pytest.StashKey[str]()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """`-n auto`: half as many again as there are cores, since tests wait for children as long as they compute."""
    return max(1, len(os.sched_getaffinity(0)) * 3 // 2)


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


@pytest.fixture(scope="session")
def azure_emulator():
    """An Azure emulator for the whole session; make a container of your own with `new_bucket()`."""
    try:
        azure.program()
    except azure.NotHereError as reason:
        pytest.skip(str(reason))
    with azure.azure_emulator() as running:
        yield running
