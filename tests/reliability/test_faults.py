"""Requests of captures, pulls and collections fail at a server of its own process; `soak_faults.py` tries them all."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.reliability.faults import KINDS, SCENES, Case, Matrix

from studio_cas.testing.faulty_process import faulty_cloud


@pytest.fixture(scope="module")
def base():
    """A folder in memory where there is one: each case syncs its catalog to the disk."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(prefix="faults-", dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def matrix(base):
    with faulty_cloud("gcs") as cloud:
        yield Matrix(cloud, base / "gcs")


@pytest.mark.parametrize("scene", SCENES)
def test_each_request_fails_in_one_way_or_another(matrix, scene):
    """Ways take turns, so that each is met in each scene or in the next."""
    kinds = list(KINDS)
    shift = 5 * list(SCENES).index(scene)
    for at in range(matrix.requests(scene)):
        assert matrix.run(Case(scene, at, kinds[(shift + at) % len(kinds)], forever=False)).hit


@pytest.fixture(scope="module", params=["s3", "azure"])
def other_matrix(request, base):
    if request.param == "s3":
        pytest.importorskip("s3fs")
    with faulty_cloud(request.param) as cloud:
        yield Matrix(cloud, base / request.param)


@pytest.mark.parametrize("scene", ["next capture", "collection"])
def test_so_it_is_on_other_clouds(other_matrix, scene):
    kinds = ("lost after", "truncated", "500", "bit flipped on its way", "reset before", "bit flipped in the answer")
    for at in range(0, other_matrix.requests(scene), 5 if scene == "collection" else 1):  # 5: each way has its turn
        assert other_matrix.run(Case(scene, at, kinds[at % len(kinds)], forever=False)).hit


@pytest.mark.parametrize("kind", ["500", "403", "reset after", "bit flipped in the answer"])
@pytest.mark.parametrize(("scene", "at"), [("next capture", 3), ("pull", 2), ("collection", 9)])
def test_a_service_that_does_not_recover_is_one_clear_error(matrix, scene, at, kind):
    assert matrix.run(Case(scene, at, kind, forever=True)).error is not None


def test_nothing_is_wrong_where_no_request_is_hit(matrix):
    assert matrix.run(Case("pull", 99, "500", forever=True)) == matrix.run(Case("pull", 99, "hang", forever=False))
