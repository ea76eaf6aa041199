"""A store in a container of Azure Blob Storage, by its REST API.

An object is one Put Blob with `If-None-Match: *`; its MD5 goes along, and the service refuses what does not agree.
"""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Final

from studio_cas.backends.answers import RefusalError
from studio_cas.backends.azure_answers import NOT_PERMITTED, read_page, when
from studio_cas.backends.base import ObjectStat
from studio_cas.backends.bucket import PAGE, Bucket, Page
from studio_cas.backends.probe import TRIALS
from studio_cas.backends.rights import CREATE, DELETE, LIST, OVERWRITE, READ, Rights
from studio_cas.backends.trying import tried_out
from studio_cas.errors import StoreUnavailableError, TransientError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from studio_cas.backends.azure_client import Client
    from studio_cas.ids import Buffer

_CONTAINER: Final = re.compile(r"(?=.{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*")
_IN_CONTAINER: Final = {"restype": "container"}


class AzureBackend(Bucket):
    """The objects below `prefix` in the container `bucket`.

    `account` is the storage account, `credentials` a file with its key or a SAS token (default: the environment, then a
    login); `endpoint` is another address than Azure's; `timeout` is in seconds.
    """

    scheme: ClassVar[str] = "az"
    to_ask_for: ClassVar[str] = "the roles that docs/security.md names for readers and writers"
    shared_names: ClassVar[bool] = False

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        account: str | None = None,
        credentials: Path | None = None,
        endpoint: str | None = None,
        timeout: float = 60.0,
        page: int = PAGE,
    ) -> None:
        if _CONTAINER.fullmatch(bucket) is None:
            raise UsageError(
                f"{bucket!r} is not a bucket's name: Azure's have 3 to 63 lower-case letters, digits and single '-'"
            )
        super().__init__(bucket, prefix, page)
        _check_dots(self._prefix)
        self._access = (credentials, account, endpoint, timeout)
        self._in_order = False  # not known yet

    def prepare(self) -> None:
        """As every bucket; also refuse an account that lists in another order, where it tells."""
        super().prepare()
        if not self._in_order:
            query = {"restype": "account", "comp": "properties"}
            with suppress(RefusalError):  # few credentials may ask; then the first list with an object in it shows it
                said, _ = self._client.request("GET", f"/{self._bucket}", query=query)
                if said.get("x-ms-is-hns-enabled") == "true":
                    raise self._not_in_order()

    def rights(self, *, trial: bool) -> Rights | None:
        """What can be done with an object of our own; None without a trial, as Azure does not tell."""
        if not trial:
            return None
        name = f"{self._prefix}{TRIALS}{secrets.token_hex(16)}"
        trials: dict[str, Callable[[], object]] = {
            CREATE: lambda: self._upload(name, [b"1"]),
            READ: lambda: self._stat_object(name),
            LIST: lambda: self._list_page(name, 1, "", folders=False),
            OVERWRITE: lambda: self._upload(name, [b"2"], only_new=False),
            DELETE: lambda: self._delete_object(name),
        }
        return tried_out(self.url, trials)

    def read_tail(self, key: str, length: int) -> tuple[Buffer, int]:
        """The last `length` bytes, and the whole size. Two requests: Azure knows no range that counts from the end."""
        size = self.stat(key).size
        return self.read(key, max(0, size - length), min(length, size)) if length > 0 and size else b"", size

    def _name(self, key: str) -> str:
        _check_dots(key)
        return super()._name(key)

    @cached_property
    def _client(self) -> Client:
        from studio_cas.backends.azure_client import Access, Client

        return Client(Access(*self._access))

    def _get_object(self, name: str, wanted: str, most: int) -> tuple[Buffer, str]:
        said, body = self._client.request("GET", self._place(name), headers={"x-ms-range": wanted}, most=most)
        whole = wanted == "bytes=0-" and "x-ms-blob-type" in said  # all of it may come without a range
        return body, said.get("Content-Range", f"bytes 0-{len(body) - 1}/{len(body)}" if whole else "")

    def _put_object(self, name: str, parts: Sequence[Buffer]) -> None:
        try:
            self._upload(name, parts)
        except RefusalError as refusal:
            if refusal.reason == NOT_PERMITTED and self._is_there(name):
                refusal.means = "exists"  # who may create, and not overwrite, is told no more
            raise

    def _upload(self, name: str, parts: Sequence[Buffer], *, only_new: bool = True) -> None:
        from studio_cas.backends.upload import md5

        headers = {"x-ms-blob-type": "BlockBlob", "Content-MD5": md5(parts)}
        if only_new:
            headers["If-None-Match"] = "*"
        self._client.request("PUT", self._place(name), headers=headers, parts=parts)

    def _is_there(self, name: str) -> bool:
        try:
            self._stat_object(name)
        except RefusalError:
            return False
        return True

    def _stat_object(self, name: str) -> ObjectStat:
        said, _ = self._client.request("HEAD", self._place(name))
        try:
            return ObjectStat(name, int(said["Content-Length"]), when(said["Last-Modified"]))
        except (LookupError, ValueError) as error:
            raise self._senseless() from error

    def _delete_object(self, name: str) -> None:
        self._client.request("DELETE", self._place(name))

    def _list_page(self, prefix: str, size: int, token: str, *, folders: bool) -> Page:
        query = {**_IN_CONTAINER, "comp": "list", "maxresults": str(size)}
        query |= _filled({"prefix": prefix, "delimiter": "/" if folders else "", "marker": token})
        _, body = self._client.request("GET", f"/{self._bucket}", query=query)
        try:
            page = read_page(bytes(body))
        except LookupError:
            raise self._not_in_order() from None
        except ValueError as error:
            raise self._senseless() from error
        self._in_order = self._in_order or bool(page.objects)
        return page

    def _make_bucket(self) -> None:
        self._client.request("PUT", f"/{self._bucket}", query=_IN_CONTAINER)

    def _where(self) -> str:
        return f"in the account {self._client.account.name}"

    def _place(self, name: str) -> str:
        return f"/{self._bucket}/{name}"

    def _not_in_order(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"the account {self._client.account.name} has a hierarchical namespace, and does not list in the order of "
            "names: take one without"
        )

    def _senseless(self) -> TransientError:
        return TransientError(f"{self.url}: an answer of {self._client.endpoint} makes no sense")


def _check_dots(key: str) -> None:
    """Azure drops dots at the end of a segment, as users report: two keys would be one. Raises UsageError."""
    if key.endswith(".") or "./" in key:
        raise UsageError(f"{key!r} can not be in a store on Azure: no name may end in a dot there")


def _filled(query: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if value}
