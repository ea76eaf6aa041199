"""A bucket of a real S3 server keeps the contract, and everything that can be wrong with a bucket is told apart."""

import pytest

from studio_cas.backends.s3 import S3Backend
from studio_cas.testing.backend_contract import BackendContract


@pytest.fixture(scope="module")
def bucket(s3_server):
    name = s3_server.new_bucket()
    store = S3Backend(name, endpoint=s3_server.endpoint)
    store.prepare()
    store.close()
    return name


@pytest.fixture(scope="module", autouse=True)
def keys(s3_server):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def store(s3_server, bucket, request):
    prefix = request.node.nodeid.encode().hex()[-200:]
    store = S3Backend(bucket, f"/{prefix}/", endpoint=s3_server.endpoint)
    yield store
    store.close()


class TestS3(BackendContract):
    rounds = 12

    @pytest.fixture
    def backend(self, store):
        return store
