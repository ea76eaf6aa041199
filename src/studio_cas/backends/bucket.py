"""A store in a bucket, whatever the cloud: keys below a prefix, ranges, pages, and what a refusal is about.

The subclasses send the requests. An object is one request, so it appears whole and only where there was none. Ranges
are compared with what was asked for; that the bytes are right is checked by the store above, against chunk ids.
Nothing is retried here: see `retrying`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from studio_cas.backends.answers import CONFLICT, NOT_FOUND, RANGE_NOT_SATISFIABLE, RefusalError, explain
from studio_cas.backends.base import ObjectStat
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
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from studio_cas.backends.cloud import CloudClient
    from studio_cas.ids import Buffer

    T = TypeVar("T")

PAGE: Final = 1000  # what the services give at most
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9]")
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(-?\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a listing, with names as the bucket has them; `token` asks for the next piece, "" at the end."""

    objects: Sequence[ObjectStat]
    folders: Sequence[str]
    token: str


class Bucket(ABC):
    """The objects below `prefix` in `bucket`. Nothing is imported or asked before the first request.

    `page` is the number of names asked for at once. A method whose name ends in `_object`, `_page` or `_bucket` sends
    one request, and lets its RefusalError through.
    """

    scheme: ClassVar[str]
    to_ask_for: ClassVar[str]
    """What to ask a bucket's owner for."""
    shared_names: ClassVar[bool] = True
    """Whether all customers of the cloud share one space of names: then a bucket may be somebody else's."""

    def __init__(self, bucket: str, prefix: str, page: int) -> None:
        if _BUCKET.fullmatch(bucket) is None:
            raise UsageError(f"{bucket!r} is not a bucket's name: letters, digits, '-', '_' and '.', three or more")
        folder = prefix.strip("/")
        self._bucket = bucket
        self._prefix = check_key(folder) + "/" if folder else ""
        self._page = page
        self._bucket_seen = False

    @abstractmethod
    def _get_object(self, name: str, wanted: str, most: int) -> tuple[Buffer, str]:
        """Content for a `Range` header, and the answer's `Content-Range`; `most` bytes at most, where not 0."""

    @abstractmethod
    def _put_object(self, name: str, parts: Sequence[Buffer]) -> None:
        """Upload the object where there is none. Raises TransientError where it was damaged on its way."""

    @abstractmethod
    def _stat_object(self, name: str) -> ObjectStat:
        """Size and time."""

    @abstractmethod
    def _delete_object(self, name: str) -> None:
        """Remove the object; a RefusalError of 404 where it is missing."""

    @abstractmethod
    def _list_page(self, prefix: str, size: int, token: str, *, folders: bool) -> Page:
        """At most `size` names that begin with `prefix`; with `folders`, those that go on after a `/` are cut there."""

    @abstractmethod
    def _make_bucket(self) -> None:
        """Create the bucket. Raises StoreUnavailableError where it is clear beforehand that this can not work."""

    @abstractmethod
    def _where(self) -> str:
        """Where a bucket is made: "in the project x"; for messages."""

    @property
    @abstractmethod
    def _client(self) -> CloudClient:
        """Who sends the requests: a cached property, made at the first one."""

    def close(self) -> None:
        """Close the connections, where there are any."""
        if "_client" in self.__dict__:
            self._client.close()

    @property
    def url(self) -> str:
        """`SCHEME://bucket/prefix`."""
        return f"{self.scheme}://{self._bucket}/{self._prefix}".rstrip("/")

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
            self._make()

    def create(self, key: str, parts: Sequence[Buffer]) -> None:
        """Upload the object in one request. Raises as the port says."""
        name = self._name(key)
        try:
            self._put_object(name, parts)
        except RefusalError as refusal:
            if refusal.means == "exists":
                raise ObjectExistsError(f"{self.url}: {key} exists already") from refusal
            raise self._failed(refusal, f"{key} can not be written") from refusal
        self._bucket_seen = True

    def read(self, key: str, offset: int = 0, length: int | None = None) -> Buffer:
        """Bytes [offset, offset + length) of the object. Raises NotFoundError, TransientError."""
        if length is not None and length <= 0:
            self.stat(key)
            return b""
        end = "" if length is None else offset + length - 1
        body, start, size = self._get(key, f"bytes={offset}-{end}", length or 0)
        wanted = max(0, size - offset) if length is None else max(0, min(length, size - offset))
        if size and wanted and start != offset:
            raise self._short(key)
        return self._whole(key, body, wanted)

    def read_tail(self, key: str, length: int) -> tuple[Buffer, int]:
        """The last `length` bytes, and the whole size; one request. Raises NotFoundError, TransientError."""
        if length <= 0:
            return b"", self.stat(key).size
        body, _, size = self._get(key, f"bytes=-{length}", length)
        return self._whole(key, body, min(length, size)), size

    def stat(self, key: str) -> ObjectStat:
        """Size and time of the object. Raises NotFoundError."""
        name = self._name(key)
        found = self._ask(lambda: self._stat_object(name), f"{key} can not be read", key)
        return ObjectStat(key, found.size, found.created)

    def list(self, prefix: str, limit: int | None = None) -> Iterator[ObjectStat]:
        """Objects that begin with `prefix`, in order; one request a page, and one page for a small `limit`."""
        check_prefix(prefix)
        return self._list(prefix, limit)

    def list_names(self, prefix: str) -> Iterator[str]:
        """The distinct next segments below `prefix`, in order, without reading below them."""
        check_folder(prefix)
        names: set[str] = set()
        for page in self._pages(prefix, self._page, folders=True):
            names.update(found.key for found in page.objects)
            names.update(page.folders)
        start = len(self._prefix) + len(prefix)
        segments = {name[start:].rstrip("/") for name in names}
        return iter(sorted(segment for segment in segments if segment and _is_key(segment)))

    def delete(self, key: str) -> None:
        """Remove the object. Raises NotFoundError, PermissionDeniedError."""
        name = self._name(key)
        self._ask(lambda: self._delete_object(name), f"{key} can not be deleted", key)

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _ask(self, request: Callable[[], T], what: str, key: str = "") -> T:
        """The answer to a request; `what` could not be done, and a 404 is about `key`."""
        try:
            answer = request()
        except RefusalError as refusal:
            raise self._failed(refusal, what, key) from refusal
        self._bucket_seen = True
        return answer

    def _get(self, key: str, wanted: str, most: int) -> tuple[Buffer, int, int]:
        """Content for a `Range` header: the bytes, where they begin, and the size of the whole object."""
        name = self._name(key)
        try:
            body, said = self._get_object(name, wanted, most)
        except RefusalError as refusal:
            if refusal.status == RANGE_NOT_SATISFIABLE:  # the range begins at the end, or beyond it
                return b"", 0, 0
            raise self._failed(refusal, f"{key} can not be read", key) from refusal
        self._bucket_seen = True
        if match := _CONTENT_RANGE.fullmatch(said):
            return body, int(match[1]), int(match[3])
        raise self._short(key)

    def _whole(self, key: str, body: Buffer, wanted: int) -> Buffer:
        if len(body) != wanted:
            raise self._short(key)
        return body

    def _short(self, key: str) -> TransientError:
        return TransientError(f"{self.url}: {key} arrived incomplete")

    def _list(self, prefix: str, limit: int | None) -> Iterator[ObjectStat]:
        left, start = limit, len(self._prefix)
        for page in self._pages(prefix, self._page if limit is None else min(limit, self._page), folders=False):
            for found in page.objects:
                key = found.key[start:]
                if left == 0:
                    return
                if _is_key(key):  # not what somebody else put there, or a console's folder mark
                    yield ObjectStat(key, found.size, found.created)
                    left = None if left is None else left - 1

    def _pages(self, prefix: str, size: int, *, folders: bool) -> Iterator[Page]:
        """The pages of a listing, each asked for when the one before is used up; none for a size of 0."""
        token = ""
        while size:
            ask = partial(self._list_page, self._prefix + prefix, size, token, folders=folders)
            page = self._ask(ask, "the bucket can not be listed")
            yield page
            token = page.token
            if not token:
                return

    def _look(self) -> None:
        """Ask the bucket for one of our names: the cheapest question that needs no more than the right to read them."""
        self._list_page(self._prefix, 1, "", folders=False)
        self._bucket_seen = True

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
        if not isinstance(error, PermissionDeniedError) or refusal.advice:
            return error
        other = "; or, if the bucket is not yours (all users share one space of names), choose another name"
        return PermissionDeniedError(
            f"{error}. Ask its owner for {self.to_ask_for}{other if self.shared_names else ''}"
        )

    def _make(self) -> None:
        """Create the bucket. It may be made by somebody else at the same moment, and be ours to use."""
        try:
            self._make_bucket()
        except RefusalError as refusal:
            if refusal.status != CONFLICT or refusal.means == "passing":
                raise explain(
                    refusal, f"the bucket {self._bucket} does not exist, and can not be made {self._where()}"
                ) from refusal
            try:
                self._look()
            except RefusalError as second:
                if not self.shared_names:
                    raise self._denied(second) from second
                raise StoreUnavailableError(
                    f"the name of the bucket {self._bucket} is taken by somebody else: choose another"
                ) from second


def _is_key(name: str) -> bool:
    try:
        check_key(name)
    except UsageError:
        return False
    return True
