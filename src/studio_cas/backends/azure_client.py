"""One request to Azure's blob service at a time, by its REST API: signature, time-outs, bounded concurrency.

The event loop is fsspec's, the session is aiohttp's, and azure-identity brings the tokens of logins. Why neither adlfs
nor Azure's own library sends the requests: docs/adr/0020.
"""

from __future__ import annotations

import os
import socket
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import aiohttp
from fsspec import asyn
from fsspec.exceptions import FSTimeoutError
from multidict import CIMultiDict
from yarl import URL

from studio_cas.backends import azure_credentials
from studio_cas.backends.azure_answers import read_refusal
from studio_cas.backends.azure_signing import signature, text_to_sign
from studio_cas.backends.cloud import CONNECT_SECONDS, REQUESTS, SLOWEST, UPLOADS, CloudClient
from studio_cas.backends.direct import LARGE, Request, proxied
from studio_cas.backends.upload import Parts
from studio_cas.errors import StoreUnavailableError, StudioError, TransientError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from studio_cas.backends.answers import RefusalError
    from studio_cas.backends.azure_login import Login
    from studio_cas.ids import Buffer

_REDIRECT: Final = 300
_VERSION: Final = "2023-11-03"  # of the API; from 2019-12-12 on an upload may have 5,000 MiB
MISSING: Final = "needs the extra [azure] to log in: pip install 'studio-cas[azure]', or give an account's key"


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the service. Without `credentials`, a file, the environment is searched, then logins."""

    credentials: Path | None = None
    account: str | None = None
    endpoint: str | None = None
    timeout: float = 60.0
    """Seconds without a sign of life after which a request counts as lost."""


@dataclass(frozen=True, slots=True)
class _Session:
    """What a process keeps open."""

    loop: asyncio.AbstractEventLoop
    session: aiohttp.ClientSession
    login: Login | None


class Client(CloudClient):
    """Blocking requests to the account that `access` names. Raises StoreUnavailableError where none can be known."""

    def __init__(self, access: Access) -> None:
        self.account = azure_credentials.load(access.credentials, access.account, access.endpoint)
        super().__init__(self.account.endpoint, access.timeout)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        parts: Sequence[Buffer] | None = None,
        most: int = 0,
    ) -> tuple[Mapping[str, str], Buffer]:
        """Headers and body of the answer to one request; `path` begins with a `/`, and is not encoded yet.

        `parts` are what is uploaded; `most` is the number of bytes that are wanted of an object. Raises RefusalError
        for a status of 300 or more, TransientError where there is no whole answer, StoreUnavailableError where asking
        is in vain.
        """
        session = self._connected()
        size = max(most, sum(len(part) for part in parts or ()))
        with self._slot(upload=parts is not None):
            try:
                request = self._prepared(session, method, path, query or {}, headers or {}, parts or (), most)
                if size >= LARGE and (self.account.here or not proxied(self.endpoint)):
                    answer = self._direct.exchange(request)
                    status, body = answer.status, answer.body
                    said: Mapping[str, str] = CIMultiDict(answer.headers.items())
                else:
                    status, said, body = asyn.sync(session.loop, self._ask, session.session, request)
            except (aiohttp.ClientError, OSError) as error:
                raise self._unanswered(error) from None  # the cause may quote a URL, and that a SAS token
            if status >= _REDIRECT:
                raise self._refused(read_refusal(status, said, bytes(body)))
        return said, body

    def _refused(self, refusal: RefusalError) -> RefusalError:
        if refusal.means == "denied" and self.account.has_expired(time.time()):
            refusal.advice = "the SAS token has expired: make a new one"
        return refusal

    def _prepared(
        self,
        session: _Session,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        parts: Sequence[Buffer],
        most: int,
    ) -> Request:
        """The request, with what proves that we may send it."""
        account, url = self.account, self.endpoint + quote(path)
        said = {
            "x-ms-version": _VERSION,
            "x-ms-date": formatdate(usegmt=True),
            "Accept-Encoding": "identity",
            **headers,
        }
        if method == "PUT":
            said |= {"Content-Length": str(sum(map(len, parts))), "Content-Type": "application/octet-stream"}
        proof = account.sas
        if account.key is not None:
            text = text_to_sign(account.name, method, URL(url, encoded=True).raw_path, query, said)
            said["Authorization"] = f"SharedKey {account.name}:{signature(account.key, text)}"
        elif session.login is not None:
            said["Authorization"] = f"Bearer {session.login.token()}"
        asked = "&".join([*(f"{name}={quote(value, safe='')}" for name, value in query.items()), *map("=".join, proof)])
        return Request(method, f"{url}?{asked}" if asked else url, said, parts, most)

    async def _ask(self, session: aiohttp.ClientSession, request: Request) -> tuple[int, Mapping[str, str], bytes]:
        # aiohttp sends once more, untold, what a closing connection may have swallowed: harmless for a GET only.
        session._retry_connection = request.method == "GET"  # noqa: SLF001 - read before the request first yields
        body = Parts(request.body, patience=self.timeout) if request.method == "PUT" else None
        url = URL(request.url, encoded=True)
        try:
            async with session.request(
                request.method, url, headers=request.headers, data=body, allow_redirects=False
            ) as answer:
                return answer.status, answer.headers, await answer.read()
        except aiohttp.ClientResponseError:  # its text quotes the URL
            raise ConnectionResetError("it does not speak HTTP") from None

    def _connect(self) -> _Session:
        account, loop = self.account, asyn.get_loop()
        login = None if account.key is not None or account.sas else _login()
        session = asyn.sync(loop, self._new_session)
        weakref.finalize(self, _close_at_last, os.getpid(), loop, session)
        return _Session(loop, session, login)

    async def _new_session(self) -> aiohttp.ClientSession:
        seconds = self.timeout
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=REQUESTS + UPLOADS),
            timeout=aiohttp.ClientTimeout(
                total=seconds * SLOWEST, sock_connect=min(seconds, CONNECT_SECONDS), sock_read=seconds
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=not self.account.here,  # proxies do not lead to emulators
        )

    def _disconnect(self, filesystem: _Session) -> None:
        asyn.sync(filesystem.loop, filesystem.session.close)

    def _unanswered(self, error: Exception) -> StudioError:
        found = super()._unanswered(error)
        unknown = isinstance(getattr(error, "os_error", error.__cause__), socket.gaierror)
        if unknown and isinstance(found, TransientError):
            return TransientError(f"{found}: is there a storage account {self.account.name}?")
        return found


def _close_at_last(pid: int, loop: asyncio.AbstractEventLoop, session: aiohttp.ClientSession) -> None:
    """Close what nobody has closed, at the end of the process at the latest: aiohttp would complain of it."""
    if not session.closed and pid == os.getpid():
        with suppress(FSTimeoutError, RuntimeError):
            asyn.sync(loop, session.close, timeout=1.0)


def _login() -> Any:
    try:
        from studio_cas.backends.azure_login import Login
    except ModuleNotFoundError as error:
        raise StoreUnavailableError(f"the store {MISSING}") from error
    return Login()
