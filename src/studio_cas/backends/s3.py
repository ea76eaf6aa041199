"""A store in a bucket of S3, or of a service that speaks its language.

An object is one PUT with `If-None-Match: *`; its checksum goes along, and the service refuses what does not agree. A
service that ignores the condition is found by `probe`.
"""

from __future__ import annotations

import secrets
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final

from studio_cas.backends.base import ObjectStat
from studio_cas.backends.bucket import PAGE, Bucket, Page
from studio_cas.backends.probe import TRIALS
from studio_cas.backends.rights import CREATE, DELETE, LIST, OVERWRITE, READ, Rights
from studio_cas.backends.trying import tried_out
from studio_cas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from studio_cas.backends.s3_client import Client
    from studio_cas.ids import Buffer

_UNORDERED: Final = "--x-s3"  # how the names of directory buckets end
_EMPTY: Final = "bytes 0--1/0"  # some services answer to a range of an empty object with all of it
_DEFAULT_REGION: Final = "us-east-1"  # S3 refuses a request that names it
MISSING: Final = "needs the extra [s3]: pip install 'studio-cas[s3]'"


class S3Backend(Bucket):
    """The objects below `prefix` in `bucket`.

    `credentials` is a file of keys (default: where Amazon's tools look); `endpoint` is the address of another service
    than Amazon's; `region` is where the bucket is, or is made; `timeout` is in seconds.
    """

    scheme: ClassVar[str] = "s3"
    to_ask_for: ClassVar[str] = "s3:ListBucket on the bucket, and s3:GetObject and s3:PutObject on its objects"

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        credentials: Path | None = None,
        endpoint: str | None = None,
        region: str | None = None,
        timeout: float = 60.0,
        page: int = PAGE,
    ) -> None:
        super().__init__(bucket, prefix, page)
        if bucket.endswith(_UNORDERED):
            raise UsageError(f"{bucket} is a directory bucket, which lists in no order: take a general purpose bucket")
        self._access = (credentials, endpoint, region, timeout)

    def rights(self, *, trial: bool) -> Rights | None:
        """What can be done with an object of our own; None without a trial, as S3 does not tell."""
        if not trial:
            return None
        from studio_cas.backends.upload import md5

        name = f"{self._prefix}{TRIALS}{secrets.token_hex(16)}"
        where: dict[str, Any] = {"Bucket": self._bucket, "Key": name}
        trials: dict[str, Callable[[], object]] = {
            CREATE: lambda: self._put_object(name, [b"1"]),
            READ: lambda: self._stat_object(name),
            LIST: lambda: self._list_page(name, 1, "", folders=False),
            OVERWRITE: lambda: self._client.request("put_object", **where, Body=b"2", ContentMD5=md5([b"2"])),
            DELETE: lambda: self._client.request("delete_object", **where),
        }
        return tried_out(self.url, trials)

    @cached_property
    def _client(self) -> Client:
        from studio_cas.backends.s3_client import Access, Client

        return Client(Access(*self._access))

    def _get_object(self, name: str, wanted: str, most: int) -> tuple[Buffer, str]:
        answer = self._client.request("get_object", most=most, Bucket=self._bucket, Key=name, Range=wanted)
        said = answer.get("ContentRange", "" if answer["ContentLength"] else _EMPTY)
        return answer["Body"], said

    def _put_object(self, name: str, parts: Sequence[Buffer]) -> None:
        from studio_cas.backends.s3_upload import Body
        from studio_cas.backends.upload import md5

        where = {"Bucket": self._bucket, "Key": name, "IfNoneMatch": "*"}
        self._client.upload("put_object", **where, ContentMD5=md5(parts), Body=Body(parts))

    def _stat_object(self, name: str) -> ObjectStat:
        found = self._client.request("head_object", Bucket=self._bucket, Key=name)
        return ObjectStat(name, int(found["ContentLength"]), found["LastModified"].timestamp())

    def _delete_object(self, name: str) -> None:
        self._stat_object(name)  # deleting what is missing would succeed
        self._client.request("delete_object", Bucket=self._bucket, Key=name)

    def _list_page(self, prefix: str, size: int, token: str, *, folders: bool) -> Page:
        query: dict[str, Any] = {"Bucket": self._bucket, "Prefix": prefix, "MaxKeys": size}
        if folders:
            query["Delimiter"] = "/"
        if token:
            query["ContinuationToken"] = token
        answer = self._client.request("list_objects_v2", **query)
        objects = [_stat(item) for item in answer.get("Contents", ())]
        names = [item["Prefix"] for item in answer.get("CommonPrefixes", ())]
        return Page(objects, names, answer.get("NextContinuationToken", "") if answer.get("IsTruncated") else "")

    def _make_bucket(self) -> None:
        region = self._client.region
        where: dict[str, Any] = (
            {} if region == _DEFAULT_REGION else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        )
        self._client.request("create_bucket", Bucket=self._bucket, **where)

    def _where(self) -> str:
        return f"in the region {self._client.region}"


def _stat(item: Mapping[str, Any]) -> ObjectStat:
    return ObjectStat(item["Key"], int(item["Size"]), item["LastModified"].timestamp())
