"""One request to Google Cloud Storage at a time, through gcsfs: session, time-outs, bounded concurrency.

What gcsfs would do on its own is off: its caches, its upload (see gcs_upload), its retries (they hide that a create
may have been sent twice; see retrying), its search for credentials that ends in having none, and its experimental
class, which asks a gRPC service first and hangs for 78 seconds against an emulator.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # gcsfs reads it when it is imported

import aiohttp
from fsspec import asyn
from gcsfs.core import GCSFileSystem
from gcsfs.retry import HttpError, NonRetryableError
from google.auth.exceptions import GoogleAuthError, TransportError
from multidict import CIMultiDict

from studio_cas.backends import gcs_credentials
from studio_cas.backends.cloud import CONNECT_SECONDS, SLOWEST, CloudClient
from studio_cas.backends.direct import LARGE, Request, proxied
from studio_cas.backends.gcs_answers import read_refusal
from studio_cas.backends.gcs_upload import Multipart
from studio_cas.errors import PermissionDeniedError, StudioError, TransientError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from studio_cas.ids import Buffer

_REDIRECT: Final = 300
_BAD_STATUS: Final = 400
_DEFAULT_ENDPOINT: Final = "https://storage.googleapis.com"


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the service. Without `credentials`, a file, the application default is taken."""

    credentials: Path | None = None
    endpoint: str | None = None
    project: str | None = None
    timeout: float = 60.0
    """Seconds without a sign of life after which a request counts as lost."""


class OneAttempt(GCSFileSystem):  # type: ignore[misc]  # gcsfs has no types
    """gcsfs that sends a request once, and tells the status, the reason and `Retry-After` of a refusal."""

    async def _request(
        self, method: str, path: str, *args: str, headers: Any = None, json: Any = None, data: Any = None, **params: Any
    ) -> tuple[int, Mapping[str, str], Any, bytes]:
        await self._set_session()
        # aiohttp sends once more, untold, what a closing connection may have swallowed: harmless for a GET only.
        self.session._retry_connection = method == "GET"  # noqa: SLF001 - read before the request first yields
        async with self.session.request(
            method=method,
            url=self._format_path(path, args),
            params=self._get_params(params),
            json=json,
            headers=self._get_headers(headers),
            data=data,
            timeout=self.requests_timeout,
        ) as answer:
            body = await answer.read()
            if answer.status >= _BAD_STATUS:
                raise read_refusal(answer.status, answer.headers, body)
            return answer.status, answer.headers, answer.request_info, body

    def prepared(self, method: str, url: str, arguments: Mapping[str, Any], most: int) -> Request:
        """The same request, for somebody else to send."""
        params = dict(arguments)
        headers, body = params.pop("headers", None), params.pop("data", None)
        said = self._get_headers(headers)
        if body is not None:
            said["Content-Length"] = str(body.size)
        query = urlencode(self._get_params(params), doseq=True)
        return Request(method, f"{url}?{query}", said, body.parts if body is not None else (), most)


class Client(CloudClient):
    """Blocking requests to the service that `access` names."""

    def __init__(self, access: Access) -> None:
        self._access = access
        endpoint, self.anonymous = _endpoint(access)
        super().__init__(endpoint, access.timeout)

    @property
    def project(self) -> str:
        """The project that new buckets belong to: as configured, or the credential's own; may be empty."""
        return self._connected().project or ""

    def request(
        self, method: str, path: str, *, upload: bool = False, most: int = 0, **arguments: Any
    ) -> tuple[Mapping[str, str], Buffer]:
        """Headers and body of the answer to one request; `path` begins with a `/`.

        `arguments` are `headers`, `json`, `data`, and the parameters of the query; `most` is the number of bytes that
        are wanted of an object. Raises RefusalError for a status of 400 or more, TransientError where there is no whole
        answer, StoreUnavailableError where asking is in vain.
        """
        filesystem = self._connected()
        call = filesystem._call  # noqa: SLF001 - the place that gcsfs has for requests of one's own
        with self._slot(upload=upload):
            try:
                filesystem.credentials.maybe_refresh()  # here, as it would block the event loop for all threads
                if self._large(arguments.get("data"), most):
                    request = filesystem.prepared(method, self.endpoint + path, arguments, most)
                    answer = self._direct.exchange(request)
                    headers: Mapping[str, str] = CIMultiDict(answer.headers.items())
                    if answer.status >= _BAD_STATUS:
                        raise read_refusal(answer.status, headers, bytes(answer.body))
                    if answer.status < _REDIRECT:  # else the session follows it
                        return headers, answer.body
                headers, body = asyn.sync(filesystem.loop, call, method, self.endpoint + path, **arguments)
            except (GoogleAuthError, HttpError, NonRetryableError) as error:
                raise _credential_failed(error) from error
            except (aiohttp.ClientError, OSError) as error:
                raise self._unanswered(error) from error
        return headers, body

    def _large(self, body: object, most: int) -> bool:
        """Whether a request goes on a connection of its own."""
        size = body.size if isinstance(body, Multipart) else most
        return (size or 0) >= LARGE and (self.anonymous or not proxied(self.endpoint))

    def _connect(self) -> Any:
        seconds = self.timeout
        credential, project = ("anon", "") if self.anonymous else gcs_credentials.load(self._access.credentials)
        return OneAttempt(
            token=credential,
            project=self._access.project or project,
            endpoint_url=self.endpoint,
            requests_timeout=aiohttp.ClientTimeout(
                total=seconds * SLOWEST, sock_connect=min(seconds, CONNECT_SECONDS), sock_read=seconds
            ),
            session_kwargs={"trust_env": not self.anonymous},  # proxies do not lead to emulators
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def _disconnect(self, filesystem: Any) -> None:
        session = getattr(filesystem, "_session", None)
        if session is not None:
            asyn.sync(filesystem.loop, session.close)


def _endpoint(access: Access) -> tuple[str, bool]:
    """Where requests go, and whether without credentials: an emulator is never shown any."""
    emulator = os.environ.get("STORAGE_EMULATOR_HOST", "")
    if access.endpoint is None and emulator not in {"", "default"}:
        return _with_scheme(emulator), True
    endpoint = _with_scheme(access.endpoint or _DEFAULT_ENDPOINT)
    host = urlsplit(endpoint).hostname or ""
    google = host == "googleapis.com" or host.endswith(".googleapis.com")
    return endpoint, access.credentials is None and not google


def _with_scheme(endpoint: str) -> str:
    return (endpoint if "://" in endpoint else f"http://{endpoint}").rstrip("/")


def _credential_failed(error: Exception) -> StudioError:
    """Our error for a token that could not be had. The cause's own text may quote an answer, so it is left out."""
    if isinstance(error, TransportError):
        return TransientError("Google's token service could not be reached")
    return PermissionDeniedError(
        "Google does not accept the credential: it was revoked, its key was deleted, or this machine's clock is wrong"
    )
