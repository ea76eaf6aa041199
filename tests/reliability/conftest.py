"""A store in a folder, with its own home."""

import os

import pytest
from tests.privilege import create_only, url_of
from tests.reliability.daemons import Machine

from studio_cas.store.store import open_store


@pytest.fixture(autouse=True)
def children_report_no_lines(monkeypatch):
    """They run what the children of other tests run, most are killed before they could tell it, and it costs time."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def store(tmp_path, home):
    with open_store(tmp_path / "store", home=home) as opened:
        yield opened


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def out(tmp_path):
    """A folder that holds destinations and nothing else."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def open_to_all(tmp_path):
    """Nobody may go through the folders above, and write into the test's own."""
    for folder in (tmp_path, *tmp_path.parents):  # each: another session of pytest closes the upper ones again
        if os.access(folder, os.W_OK) and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o111)
    tmp_path.chmod(0o777)


@pytest.fixture
def machine(request, tmp_path):
    """A home and a store, and the daemons that a test starts there."""
    made = Machine(tmp_path)
    if create_only(request.config):
        made.environment["STUDIOML_STORE"] = url_of(made.store)
    yield made
    made.close()
