"""How much of a pull is under way at once."""

import threading
from types import SimpleNamespace

import pytest

from studio_cas.worktree import fetch
from studio_cas.worktree.plan import RANGE_LIMIT


@pytest.mark.parametrize("local", [True, False])
def test_each_worker_has_a_range_of_its_own_within_the_limit(local):
    """From a bucket all at once, since one connection is slow; none waits for another to be done."""
    workers = fetch.LOCAL_WORKERS if local else fetch.REMOTE_WORKERS
    limit = fetch.IN_FLIGHT if local else fetch.REMOTE_IN_FLIGHT
    together = threading.Barrier(workers)
    under_way = most = 0
    lock = threading.Lock()

    def work():
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait(20)
        with lock:
            under_way -= 1
        return 1

    fetcher = fetch.Fetcher(SimpleNamespace(backend=SimpleNamespace(local=local)), "e/t@1", lambda _: None)
    for _ in range(3 * workers):
        fetcher.submit(RANGE_LIMIT, work)
        assert fetcher._in_flight <= limit + RANGE_LIMIT
    fetcher.finish()
    fetcher.close()
    assert fetcher.bytes_written == 3 * workers
    assert most == workers
