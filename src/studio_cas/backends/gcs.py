"""A store in a bucket of Google Cloud Storage (or of its emulator), by the JSON API.

An object is one multipart request with `ifGenerationMatch=0`; its checksum goes along, and is compared with the answer.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote

from studio_cas.backends.answers import RefusalError
from studio_cas.backends.base import ObjectStat
from studio_cas.backends.bucket import PAGE, Bucket, Page
from studio_cas.backends.rights import ADMINISTER, CREATE, DELETE, LIST, OVERWRITE, READ, Rights
from studio_cas.errors import StoreUnavailableError, StudioError, TransientError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from studio_cas.backends.gcs_client import Client
    from studio_cas.ids import Buffer

_PERMISSIONS: Final = {
    "storage.objects.create": CREATE,
    "storage.objects.get": READ,
    "storage.objects.list": LIST,
    "storage.objects.delete": DELETE,
    "storage.buckets.delete": ADMINISTER,
    "storage.buckets.update": ADMINISTER,
    "storage.buckets.setIamPolicy": ADMINISTER,
}


class GcsBackend(Bucket):
    """The objects below `prefix` in `bucket`.

    `credentials` is the file of a service account's key (default: the application default credentials); `endpoint`
    replaces Google's; `project` owns a bucket that has to be made; `timeout` is in seconds.
    """

    scheme: ClassVar[str] = "gs"
    to_ask_for: ClassVar[str] = "the roles Storage Object Viewer and Storage Object Creator"

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
        super().__init__(bucket, prefix, page)
        self._access = (credentials, endpoint, project, timeout)
        self._objects = f"/storage/v1/b/{bucket}/o"

    def rights(self, *, trial: bool) -> Rights | None:
        """What the service says for the bucket, and for the managed folder of the prefix; None where it says nothing.

        Emulators say nothing. Rights that hold for folders further down or up are not seen.
        """
        del trial
        places = [f"/storage/v1/b/{self._bucket}/iam/testPermissions"]
        if self._prefix:
            folder = quote(self._prefix, safe="")
            places.append(f"/storage/v1/b/{self._bucket}/managedFolders/{folder}/iam/testPermissions")
        answers = [self._permissions(place) for place in places]
        if all(answer is None for answer in answers):
            return None
        held = frozenset().union(*(answer for answer in answers if answer is not None))
        overwriting = {OVERWRITE} if {CREATE, DELETE} <= held else set()  # here this takes both
        return Rights(held | overwriting, frozenset(_PERMISSIONS.values()) | {OVERWRITE})

    def _permissions(self, place: str) -> frozenset[str] | None:
        asked = [name for name in _PERMISSIONS if ".objects." in name or "managedFolders" not in place]
        try:
            answer = self._json("GET", place, permissions=asked)
        except RefusalError:
            return None
        return frozenset(_PERMISSIONS[name] for name in answer.get("permissions", ()) if name in _PERMISSIONS)

    @cached_property
    def _client(self) -> Client:
        from studio_cas.backends.gcs_client import Access, Client

        return Client(Access(*self._access))

    def _get_object(self, name: str, wanted: str, most: int) -> tuple[Buffer, str]:
        headers = {"Range": wanted, "Accept-Encoding": "identity"}
        where = f"/download{self._place(name)}"
        answer, body = self._client.request("GET", where, most=most, headers=headers, alt="media")
        return body, answer.get("Content-Range", "")

    def _put_object(self, name: str, parts: Sequence[Buffer]) -> None:
        from studio_cas.backends.gcs_upload import Multipart

        body = Multipart(name, parts, self._access[3])
        _, content = self._client.request(
            "POST",
            f"/upload{self._objects}",
            upload=True,
            data=body,
            headers={"Content-Type": body.content_type},
            uploadType="multipart",
            ifGenerationMatch="0",
            fields="size,crc32c,md5Hash,generation",
        )
        answer = self._parsed(content)
        if not body.arrived_whole(answer):
            self._take_back(name, answer)
            raise TransientError(f"{self.url}: {name.removeprefix(self._prefix)} was damaged on its way")

    def _stat_object(self, name: str) -> ObjectStat:
        return _stat(self._json("GET", self._place(name), fields="name,size,timeCreated"))

    def _delete_object(self, name: str) -> None:
        self._json("DELETE", self._place(name))

    def _list_page(self, prefix: str, size: int, token: str, *, folders: bool) -> Page:
        query = {"prefix": prefix, "maxResults": str(size), "fields": "items(name,size,timeCreated),nextPageToken"}
        if folders:
            query |= {"delimiter": "/", "fields": "items(name,size,timeCreated),prefixes,nextPageToken"}
        if token:
            query["pageToken"] = token
        answer = self._json("GET", self._objects, **query)
        objects = [_stat(item) for item in answer.get("items", ())]
        return Page(objects, answer.get("prefixes", ()), answer.get("nextPageToken", ""))

    def _make_bucket(self) -> None:
        """Create the bucket, with permissions for the bucket as a whole."""
        if not self._project:
            raise StoreUnavailableError(
                f"the bucket {self._bucket} does not exist, and no project is known to make it in: set `project:` in "
                f"the storage section, or run `gcloud storage buckets create gs://{self._bucket}`"
            )
        request = {"name": self._bucket, "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}}}
        self._client.request("POST", "/storage/v1/b", json=request, project=self._project)

    def _where(self) -> str:
        return f"in the project {self._project}"

    @property
    def _project(self) -> str:
        return self._client.project or ("studio" if self._client.anonymous else "")

    def _place(self, name: str) -> str:
        return f"{self._objects}/{quote(name, safe='')}"

    def _json(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """The JSON answer to a request."""
        return self._parsed(self._client.request(method, path, **arguments)[1])

    def _parsed(self, body: Buffer) -> dict[str, Any]:
        try:
            answer = json.loads(bytes(body) or b"null")
        except ValueError as error:
            raise TransientError(f"{self.url}: {self._client.endpoint} does not answer in JSON") from error
        return answer if isinstance(answer, dict) else {}

    def _take_back(self, name: str, answer: Mapping[str, Any]) -> None:
        """Delete our own damaged object, where the credential may; it will be created again."""
        try:
            generation = str(answer.get("generation", ""))
            self._client.request("DELETE", self._place(name), ifGenerationMatch=generation)
        except (RefusalError, StudioError):
            return  # then the next attempt finds it, and reports that it differs


def _stat(item: Mapping[str, Any]) -> ObjectStat:
    """What the service says of an object. Raises TransientError where it was damaged on its way."""
    try:
        created = datetime.fromisoformat(item["timeCreated"]).timestamp()
        return ObjectStat(item["name"], int(item["size"]), created)
    except (LookupError, ValueError, TypeError) as error:
        raise TransientError("the service described an object in a way that makes no sense") from error
