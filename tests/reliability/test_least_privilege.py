"""With the rights to create, read and list, and no other: a sample; `--least-privilege` runs the whole suite so."""

import pytest
from tests.reliability.folders import fill, snapshot

from studio_cas.backends.azure import AzureBackend
from studio_cas.backends.gcs import GcsBackend
from studio_cas.backends.metered import Metered
from studio_cas.backends.retrying import Retrying
from studio_cas.errors import PermissionDeniedError
from studio_cas.formats import keys
from studio_cas.store.merging import Policy
from studio_cas.store.store import open_store
from studio_cas.store.versions import list_versions, resolve
from studio_cas.testing.faulty_azure import FaultyAzure
from studio_cas.testing.faulty_gcs import FaultyGcs
from studio_cas.testing.faulty_http import BUCKET, serve
from studio_cas.testing.faulty_s3 import FaultyS3
from studio_cas.worktree.capture import capture
from studio_cas.worktree.materialise import materialise


@pytest.fixture(params=["gcs", "s3", "azure"])
def opened(request, tmp_path):
    """Open the store in a bucket that refuses deletes and overwrites, as a machine of that name."""
    if request.param == "s3":
        pytest.importorskip("s3fs")
    credentials = tmp_path / "keys"
    credentials.write_text("[default]\naws_access_key_id = AKIATESTING\naws_secret_access_key = secret\n")
    (tmp_path / "azure").write_text("AZURE_STORAGE_KEY=c2VjcmV0\n")
    with serve({"gcs": FaultyGcs, "s3": FaultyS3, "azure": FaultyAzure}[request.param]) as service:
        service.create_only = True

        def as_machine(name):
            if request.param == "gcs":
                bare = GcsBackend(BUCKET, "team", endpoint=service.endpoint, project="p")
            elif request.param == "azure":
                bare = AzureBackend(BUCKET, "team", endpoint=service.account, credentials=tmp_path / "azure")
            else:
                from studio_cas.backends.s3 import S3Backend

                bare = S3Backend(BUCKET, "team", endpoint=service.endpoint, credentials=credentials)
            return open_store(Retrying(Metered(bare)), home=tmp_path / name)

        yield as_machine


def test_many_versions_of_several_machines_need_no_other_right(opened, tmp_path):
    """Packs of others are adopted under a pin that stays; small packs are merged, and the old ones stay as well."""
    work = fill(tmp_path / "work", big=1_300_000)
    with opened("ours") as store:
        store.merging = Policy(many=2)
        for number in range(4):
            (work / "log").write_text(f"step {number}\n" * 20_000)
            (work / f"new-{number}").write_bytes(bytes([number]) * 70_000)
            capture(store, work, "exp", "tag")
        adopted = capture(store, work, "other", "tag").version
        assert adopted.stored < 100_000
        assert list(store.backend.list(keys.PINS))
    expected = snapshot(work)
    with opened("theirs") as store:
        (work / "tiny").unlink()
        capture(store, work, "exp", "tag")
        assert [version.number for version in list_versions(store, "exp", "tag")] == [5, 4, 3, 2, 1]
        for name in ("exp/tag@1", "exp/tag", "other/tag"):
            materialise(store, resolve(store, name), tmp_path / "out", force=True)
    assert snapshot(tmp_path / "out") == expected


def test_what_does_need_another_right_is_refused(opened):
    with opened("ours") as store:
        with pytest.raises(PermissionDeniedError):
            store.backend.delete("format.json")
        assert store.backend.stat("format.json").size
