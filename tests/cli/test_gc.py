"""`studio gc`: what it says, in words and as JSON, and how it ends."""

from __future__ import annotations

import os
import re

import pytest

from studio_cas.formats import keys
from studio_cas.testing.faulty_gcs import FaultyGcs
from studio_cas.testing.faulty_http import BUCKET, serve
from studio_cas.testing.s3_server import CREATE_ONLY, installed, s3_server

pytestmark = pytest.mark.own_store


@pytest.fixture(params=["folder", "gs", "s3", "az"])
def where(request, terminal, bucket_of):
    """A store in a folder, and in buckets of three services."""
    if request.param == "folder":
        return str(terminal.folder / "there")
    return bucket_of(request.param)


def test_what_a_removed_run_stored_is_freed(terminal, weights, where):
    terminal.ok("push", weights, "exp/w", "--store", where)
    (weights / "once").write_bytes(os.urandom(200_000))
    terminal.ok("push", weights / "once", "gone/w", "--store", where)
    terminal.ok("runs", "rm", "gone", "--yes", "--store", where)
    foreseen = terminal.ok("gc", "--dry-run", "--grace", "0", "--store", where)
    amount = r"195\.\d KiB"  # how many chunks it has is chance
    told = rf"would free {amount}: 1 data pack \({amount}\), 0 tree packs \(0 B\)"
    assert re.fullmatch(told, foreseen.out.splitlines()[0])
    young = terminal.ok("gc", "--store", where)
    assert "freed nothing" in young.out
    assert re.search(rf"kept 1 pack \({amount}\), for being younger than 1d", young.out)
    done = terminal.ok("gc", "--grace", "0", "--json", "--stats", "--store", where).json
    assert done["deleted"]["data"]["objects"] == 1
    assert done["deleted"]["data"]["bytes"] > 200_000
    assert (done["versions"], done["dry_run"], done["stats"]["delete"]) == (1, False, 2)
    assert set(done["deleted"]) == {"data", "trees", "hooks", "pins", "trials"}
    terminal.ok("pull", "exp/w", "back", "--store", where)


def test_a_damaged_record_stops_it_with_its_name(terminal, weights):
    terminal.ok("push", weights, "exp/w")
    key = keys.version("exp", "w", 1)
    terminal.backend.delete(key)
    terminal.backend.create(key, [b"{"])
    before = [found.key for found in terminal.backend.list(keys.PACKS)]
    told = terminal.fails(5, "gc", "--grace", "0").err
    assert "exp/w@1: a version record is damaged" in told
    assert "nothing was deleted" in told
    assert [found.key for found in terminal.backend.list(keys.PACKS)] == before


def test_a_grace_that_is_no_duration_is_an_error_of_the_caller(terminal):
    assert "--grace: 'soon' is no duration" in terminal.fails(2, "gc", "--grace", "soon").err


def test_where_there_is_no_store_there_is_nothing_to_collect(terminal):
    assert "there is no store" in terminal.fails(3, "gc").err


def test_a_bucket_where_nothing_may_be_deleted_says_so_before_anything_is_published(terminal, weights):
    with serve(FaultyGcs) as bucket:
        terminal.environment["STORAGE_EMULATOR_HOST"] = bucket.endpoint
        where = f"gs://{BUCKET}/studio"
        terminal.ok("push", weights, "exp/w", "--store", where)
        bucket.create_only = True
        told = terminal.fails(3, "gc", "--grace", "0", "--store", where).err
        assert "garbage is collected with a credential that may delete; nothing was published" in told
        assert not [key for key in bucket.objects if "/gc/" in key]
        assert "nothing" in terminal.ok("gc", "--grace", "0", "--dry-run", "--store", where).out


def test_so_does_one_of_s3(terminal, weights):
    if not installed():
        pytest.skip("moto or s3fs is not installed")
    with s3_server(CREATE_ONLY) as service:
        terminal.environment.update(service.environment)
        where = f"s3://{service.new_bucket()}/studio"
        terminal.ok("push", weights, "exp/w", "--store", where)
        told = terminal.fails(3, "gc", "--grace", "0", "--store", where).err
        assert "garbage is collected with a credential that may delete; nothing was published" in told
