"""Requests of captures and pulls fail at a server of its own process: a sample; `soak_faults.py` tries them all."""

import pytest
from tests.reliability.faults import KINDS, SCENES, Case, Matrix

from studio_cas.testing.faulty_process import faulty_cloud


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    with faulty_cloud("gcs") as cloud:
        yield Matrix(cloud, tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize("scene", SCENES)
def test_each_request_fails_in_one_way_or_another(matrix, scene):
    """Ways take turns, so that each is met in each scene or in the next."""
    kinds = list(KINDS)
    shift = 5 * list(SCENES).index(scene)
    for at in range(matrix.requests(scene)):
        assert matrix.run(Case(scene, at, kinds[(shift + at) % len(kinds)], forever=False)).hit


@pytest.mark.parametrize("kind", ["500", "403", "reset after", "bit flipped in the answer"])
@pytest.mark.parametrize(("scene", "at"), [("next capture", 3), ("pull", 2)])
def test_a_service_that_does_not_recover_is_one_clear_error(matrix, scene, at, kind):
    assert matrix.run(Case(scene, at, kind, forever=True)).error is not None


def test_nothing_is_wrong_where_no_request_is_hit(matrix):
    assert matrix.run(Case("pull", 99, "500", forever=True)) == matrix.run(Case("pull", 99, "hang", forever=False))
