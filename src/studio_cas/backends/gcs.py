"""A store in a bucket of Google Cloud Storage (or of its emulator), by the JSON API.

An object is one multipart request with `ifGenerationMatch=0`, so it appears whole and only where there was none; its
checksum goes along, and is compared with the answer. Ranges are compared with what was asked for; that the bytes are
right is checked by the store above, against chunk ids. Nothing is retried here: see `retrying`.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from studio_cas.backends.base import ObjectStat
from studio_cas.backends.gcs_answers import CONFLICT, NOT_FOUND, RANGE_NOT_SATISFIABLE, RefusalError, explain
from studio_cas.backends.keycheck import check_folder, check_key, check_prefix
from studio_cas.errors import (
    NotFoundError,
    ObjectExistsError,
    PermissionDeniedError,
    StoreUnavailableError,
    StudioError,
    TransientError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from studio_cas.backends.gcs_client import Client
    from studio_cas.ids import Buffer

PAGE: Final = 1000  # what the service gives at most
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9]")
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(-?\d+)/(\d+)")


class GcsBackend:
    """The objects below `prefix` in `bucket`. Nothing is imported or asked before the first request.

    `credentials` is the file of a service account's key (default: the application default credentials); `endpoint`
    replaces Google's; `project` owns a bucket that has to be made; `timeout` is in seconds; `page` is the number of
    names asked for at once.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        credentials: Path | None = None,
        endpoint: str | None = None,
        project: str | None = None,
        timeout: float = 60.0,
        page: int = PAGE,
    ) -> None:
        if _BUCKET.fullmatch(bucket) is None:
            raise UsageError(f"{bucket!r} is not a bucket's name: letters, digits, '-', '_' and '.', three or more")
        folder = prefix.strip("/")
        self._bucket = bucket
        self._prefix = check_key(folder) + "/" if folder else ""
        self._access = (credentials, endpoint, project, timeout)
        self._page = page
        self._objects = f"/storage/v1/b/{bucket}/o"
        self._bucket_seen = False

    @property
    def url(self) -> str:
        """`gs://bucket/prefix`."""
        return f"gs://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def local(self) -> bool:
        """Every read is a round trip."""
        return False

    def prepare(self) -> None:
        """Look at the bucket; make it where it is missing. Raises StoreUnavailableError, PermissionDeniedError."""
        try:
            self._look()
        except RefusalError as refusal:
            if refusal.status != NOT_FOUND:
                raise self._denied(refusal) from refusal
            self._make_bucket()

    def create(self, key: str, parts: Sequence[Buffer]) -> None:
        """Upload the object in one request. Raises as the port says."""
        from studio_cas.backends.gcs_upload import Multipart

        check_key(key)
        body = Multipart(self._prefix + key, parts)
        try:
            answer = self._upload(body)
        except RefusalError as refusal:
            if refusal.object_is_there:
                raise ObjectExistsError(f"{self.url}: {key} exists already") from refusal
            raise self._failed(refusal, f"{key} can not be written") from refusal
        if not body.arrived_whole(answer):
            self._take_back(key, answer)
            raise TransientError(f"{self.url}: {key} was damaged on its way")

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes [offset, offset + length) of the object. Raises NotFoundError, TransientError."""
        if length is not None and length <= 0:
            self.stat(key)
            return b""
        end = "" if length is None else offset + length - 1
        body, start, size = self._get(key, f"bytes={offset}-{end}")
        wanted = max(0, size - offset) if length is None else max(0, min(length, size - offset))
        if size and wanted and start != offset:
            raise self._short(key)
        return self._whole(key, body, wanted)

    def read_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """The last `length` bytes, and the whole size; one request. Raises NotFoundError, TransientError."""
        if length <= 0:
            return b"", self.stat(key).size
        body, _, size = self._get(key, f"bytes=-{length}")
        return self._whole(key, body, min(length, size)), size

    def stat(self, key: str) -> ObjectStat:
        """Size and time of the object. Raises NotFoundError."""
        found = self._ask("GET", self._place(key), f"{key} can not be read", key, fields="name,size,timeCreated")
        return _stat(key, found)

    def list(self, prefix: str, limit: int | None = None) -> Iterator[ObjectStat]:
        """Objects that begin with `prefix`, in order; one request a page, and one page for a small `limit`."""
        check_prefix(prefix)
        return self._list(prefix, limit)

    def list_names(self, prefix: str) -> Iterator[str]:
        """The distinct next segments below `prefix`, in order, without reading below them."""
        check_folder(prefix)
        names: set[str] = set()
        fields = "items(name),prefixes,nextPageToken"
        for page in self._pages(prefix, self._page, delimiter="/", fields=fields):
            names.update(item["name"] for item in page.get("items", ()))
            names.update(page.get("prefixes", ()))
        start = len(self._prefix) + len(prefix)
        segments = {name[start:].rstrip("/") for name in names}
        return iter(sorted(segment for segment in segments if segment and _is_key(segment)))

    def delete(self, key: str) -> None:
        """Remove the object. Raises NotFoundError, PermissionDeniedError."""
        self._ask("DELETE", self._place(key), f"{key} can not be deleted", key)

    def close(self) -> None:
        """Close the connections."""
        if "_client" in self.__dict__:
            self._client.close()

    @cached_property
    def _client(self) -> Client:
        from studio_cas.backends.gcs_client import Access, Client

        return Client(Access(*self._access))

    def _place(self, key: str) -> str:
        return f"{self._objects}/{quote(self._prefix + check_key(key), safe='')}"

    def _ask(self, method: str, path: str, what: str, key: str = "", **arguments: Any) -> dict[str, Any]:
        """The JSON answer to a request; `what` could not be done, and a 404 is about `key`."""
        try:
            _, body = self._client.request(method, path, **arguments)
        except RefusalError as refusal:
            raise self._failed(refusal, what, key) from refusal
        return self._parsed(body)

    def _parsed(self, body: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(body or b"null")
        except ValueError as error:
            raise TransientError(f"{self.url}: {self._client.endpoint} does not answer in JSON") from error
        self._bucket_seen = True
        return answer if isinstance(answer, dict) else {}

    def _get(self, key: str, wanted: str) -> tuple[bytes, int, int]:
        """Content for a `Range` header: the bytes, where they begin, and the size of the whole object."""
        path = self._place(key)
        headers = {"Range": wanted, "Accept-Encoding": "identity"}
        try:
            answer, body = self._client.request("GET", f"/download{path}", headers=headers, alt="media")
        except RefusalError as refusal:
            if refusal.status == RANGE_NOT_SATISFIABLE:  # the range begins at the end, or beyond it
                return b"", 0, 0
            raise self._failed(refusal, f"{key} can not be read", key) from refusal
        self._bucket_seen = True
        if match := _CONTENT_RANGE.fullmatch(answer.get("Content-Range", "")):
            return body, int(match[1]), int(match[3])
        raise self._short(key)

    def _whole(self, key: str, body: bytes, wanted: int) -> bytes:
        if len(body) != wanted:
            raise self._short(key)
        return body

    def _short(self, key: str) -> TransientError:
        return TransientError(f"{self.url}: {key} arrived incomplete")

    def _list(self, prefix: str, limit: int | None) -> Iterator[ObjectStat]:
        left = limit
        fields = "items(name,size,timeCreated),nextPageToken"
        for page in self._pages(prefix, self._page if limit is None else min(limit, self._page), fields=fields):
            for item in page.get("items", ()):
                key = item["name"][len(self._prefix) :]
                if left == 0:
                    return
                if _is_key(key):  # not what somebody else put there, or a console's folder mark
                    yield _stat(key, item)
                    left = None if left is None else left - 1

    def _pages(self, prefix: str, size: int, **query: str) -> Iterator[Mapping[str, Any]]:
        """The pages of a listing, each asked for when the one before is used up; none for a size of 0."""
        query |= {"prefix": self._prefix + prefix, "maxResults": str(size)}
        while size:
            page = self._ask("GET", self._objects, "the bucket can not be listed", **query)
            yield page
            if not page.get("nextPageToken"):
                return
            query["pageToken"] = page["nextPageToken"]

    def _upload(self, body: Any) -> dict[str, Any]:
        _, answer = self._client.request(
            "POST",
            f"/upload{self._objects}",
            upload=True,
            data=body,
            headers={"Content-Type": body.content_type},
            uploadType="multipart",
            ifGenerationMatch="0",
            fields="size,crc32c,md5Hash,generation",
        )
        return self._parsed(answer)

    def _take_back(self, key: str, answer: Mapping[str, Any]) -> None:
        """Delete our own damaged object, where the credential may; it will be created again."""
        try:
            generation = str(answer.get("generation", ""))
            self._client.request("DELETE", self._place(key), ifGenerationMatch=generation)
        except (RefusalError, StudioError):
            return  # then the next attempt finds it, and reports that it differs

    def _look(self) -> None:
        """Ask the bucket for one name: the cheapest question that needs no more than the right to read."""
        _, body = self._client.request("GET", self._objects, maxResults="1", fields="items(name)")
        self._parsed(body)

    def _failed(self, refusal: RefusalError, what: str, key: str = "") -> StudioError:
        """The error for a refused request. A 404 is about the object only if the bucket is there."""
        if refusal.status != NOT_FOUND:
            return explain(refusal, f"{self.url}: {what}")
        if not self._bucket_seen:
            try:
                self._look()
            except RefusalError as second:
                return self._no_bucket() if second.status == NOT_FOUND else self._denied(second)
        if key:
            return NotFoundError(f"{self.url}: there is no object {key}")
        return self._no_bucket()

    def _no_bucket(self) -> StoreUnavailableError:
        return StoreUnavailableError(f"the bucket {self._bucket} does not exist")

    def _denied(self, refusal: RefusalError) -> StudioError:
        """Why the bucket can not be looked at. A 403 also means that the name belongs to somebody else."""
        error = explain(refusal, f"the bucket {self._bucket} can not be used")
        if not isinstance(error, PermissionDeniedError):
            return error
        return PermissionDeniedError(
            f"{error}. Ask its owner for the roles Storage Object Viewer and Storage Object Creator; or, if the bucket "
            "is not yours (all users share one space of names), choose another name"
        )

    def _make_bucket(self) -> None:
        """Create the bucket, with permissions for the bucket as a whole."""
        name, project = self._bucket, self._client.project or ("studio" if self._client.anonymous else "")
        if not project:
            raise StoreUnavailableError(
                f"the bucket {name} does not exist, and no project is known to make it in: set `project:` in the "
                f"storage section, or run `gcloud storage buckets create gs://{name}`"
            )
        request = {"name": name, "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}}}
        try:
            self._client.request("POST", "/storage/v1/b", json=request, project=project)
        except RefusalError as refusal:
            self._after_conflict(refusal, project)

    def _after_conflict(self, refusal: RefusalError, project: str) -> None:
        """A bucket that can not be made may have been made by somebody else at the same moment, and be ours to use."""
        if refusal.status != CONFLICT:
            raise explain(
                refusal, f"the bucket {self._bucket} does not exist, and can not be made in the project {project}"
            ) from refusal
        try:
            self._look()
        except RefusalError as second:
            raise StoreUnavailableError(
                f"the name of the bucket {self._bucket} is taken by somebody else: choose another"
            ) from second


def _stat(key: str, item: Mapping[str, Any]) -> ObjectStat:
    return ObjectStat(key, int(item["size"]), datetime.fromisoformat(item["timeCreated"]).timestamp())


def _is_key(name: str) -> bool:
    try:
        check_key(name)
    except UsageError:
        return False
    return True
