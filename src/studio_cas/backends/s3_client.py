"""One request to S3 at a time, through s3fs and its aiobotocore: session, time-outs, bounded concurrency.

What they would do on their own is off: caches, retries (they hide that a create may have been sent twice; see
retrying), checksums in trailers, which older services do not understand, and waiting for `100 Continue`, which some
never send.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigParseError,
    ConnectionError,  # noqa: A004 - not the system's
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    InvalidRegionError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.handlers import add_expect_header
from botocore.parsers import ResponseParserError
from fsspec import asyn
from s3fs import S3FileSystem

from studio_cas.backends import s3_credentials
from studio_cas.backends.cloud import CONNECT_SECONDS, REQUESTS, SLOWEST, UPLOADS, CloudClient
from studio_cas.backends.direct import LARGE
from studio_cas.backends.errands import Errands
from studio_cas.backends.s3_answers import read_refusal
from studio_cas.errors import PermissionDeniedError, StoreUnavailableError, StudioError, TransientError

if TYPE_CHECKING:
    from pathlib import Path

_AMAZON: Final = "Amazon S3"
_ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_UNANSWERED: Final = (HTTPClientError, ConnectionError, IncompleteReadError, ResponseParserError)
_UNUSABLE: Final = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    SSOError,
    ProfileNotFound,
    ConfigParseError,
    InvalidRegionError,
)


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the service. Without `credentials`, a file, Amazon's usual places are searched."""

    credentials: Path | None = None
    endpoint: str | None = None
    region: str | None = None
    timeout: float = 60.0
    """Seconds without a sign of life after which a request counts as lost."""


class OneAttempt(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
    """aiobotocore's session, which sends a request once."""

    async def send(self, request: Any) -> Any:
        """Send it, or let the thread do so that waits for the answer.

        aiohttp alone would send a PUT once more, untold, when a kept connection turns out to be closed.
        """
        proxy = self._proxy_config.proxy_url_for(request.url)
        session = await self._get_session(proxy)
        errands = Errands.of_this_request()
        context = getattr(session.connector, "_ssl", None)  # aiobotocore's: which certificates are trusted
        if errands and proxy is None and (isinstance(context, ssl.SSLContext) or request.url.startswith("http:")):
            try:
                return await errands.send(request, context)
            except OSError as error:
                raise HTTPClientError(error=error) from error
        session._retry_connection = request.method == "GET"  # noqa: SLF001 - read before the request first yields
        return await super().send(request)


class Client(CloudClient):
    """Blocking requests to the service that `access` names."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._url = _endpoint(access)
        super().__init__(self._url or _AMAZON, access.timeout)

    @property
    def region(self) -> str:
        """Where requests go, and new buckets are made; as configured, or in Amazon's configuration, or "us-east-1"."""
        name = self._connected().s3.meta.region_name or ""
        return "us-east-1" if name in {"", "aws-global"} else str(name)

    def upload(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """As `request`, and no more at once than memory should hold."""
        with self._slot(upload=True):
            return self._answer(operation, arguments, len(arguments["Body"]))

    def request(self, operation: str, *, most: int = 0, **arguments: Any) -> dict[str, Any]:
        """The answer to one request, as botocore parses it; a body is read to its end, of `most` bytes.

        Raises RefusalError for a status of 300 or more, TransientError where there is no whole answer,
        StoreUnavailableError where asking is in vain.
        """
        with self._slot(upload=False):
            return self._answer(operation, arguments, most)

    def _answer(self, operation: str, arguments: dict[str, Any], size: int) -> dict[str, Any]:
        try:
            filesystem = self._connected()
            if size >= LARGE:
                asked = self._ask(filesystem, operation, arguments)
                return Errands(self._direct, size).run(filesystem.loop, asked)
            answer: dict[str, Any] = asyn.sync(filesystem.loop, self._ask, filesystem, operation, arguments)
        except ClientError as error:
            raise read_refusal(error.response) from error
        except _UNUSABLE as error:
            raise _unusable(error) from error
        except _UNANSWERED as error:
            raise self._unanswered(_cause(error)) from error
        except BotoCoreError as error:
            raise StoreUnavailableError(f"{self.endpoint} can not be asked: {error}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unanswered(error) from error
        return answer

    async def _ask(self, filesystem: Any, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        async with asyncio.timeout(self.timeout * SLOWEST):
            client = await filesystem.set_session()
            answer: dict[str, Any] = await getattr(client, operation)(**arguments)
            if operation == "get_object":
                async with answer["Body"] as body:
                    answer["Body"] = await body.read()
        return answer

    def _connect(self) -> Any:
        keys = s3_credentials.load(self._access.credentials) if self._access.credentials else None
        elsewhere = self._url is not None and not (urlsplit(self._url).hostname or "").endswith(".amazonaws.com")
        filesystem = S3FileSystem(
            key=keys.key if keys else None,
            secret=keys.secret if keys else None,
            token=keys.token if keys else None,
            endpoint_url=self._url,
            client_kwargs={"region_name": self._access.region} if self._access.region else {},
            config_kwargs={
                "connect_timeout": min(self.timeout, CONNECT_SECONDS),
                "read_timeout": self.timeout,
                "retries": {"total_max_attempts": 1},
                "max_pool_connections": REQUESTS + UPLOADS,
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
                "http_session_cls": OneAttempt,
                **({"s3": {"addressing_style": "path"}} if elsewhere else {}),
            },
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        filesystem.s3.meta.events.unregister("before-call.s3", add_expect_header)
        return filesystem

    def _disconnect(self, filesystem: Any) -> None:
        filesystem.close_session(filesystem.loop, filesystem.s3)


def _endpoint(access: Access) -> str | None:
    """Where requests go; None for Amazon's own place. Encrypted, but to this machine, where nothing else is said."""
    named = access.endpoint or next(filter(None, map(os.environ.get, _ENDPOINT_VARIABLES)), None)
    if named is None or "://" in named:
        return named.rstrip("/") if named else None
    scheme = "http" if (urlsplit(f"//{named}").hostname or "") in _THIS_MACHINE else "https"
    return f"{scheme}://{named}".rstrip("/")


def _cause(error: Exception) -> Exception:
    """What aiohttp raised; botocore's texts quote whole URLs."""
    cause = getattr(error, "kwargs", {}).get("error")
    return cause if isinstance(cause, aiohttp.ClientError | OSError) else error


def _unusable(error: Exception) -> StudioError:
    """Our error where there is nothing to ask with."""
    if isinstance(error, NoCredentialsError):
        return StoreUnavailableError(
            "no AWS credentials were found: give a file of keys as `credentials:` in the storage section, set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws configure`"
        )
    if isinstance(error, ProfileNotFound | ConfigParseError | PartialCredentialsError | InvalidRegionError):
        return StoreUnavailableError(f"the AWS configuration of this machine can not be used: {error}")
    if isinstance(error, TokenRetrievalError | SSOError):
        return PermissionDeniedError("the AWS login has expired: run `aws sso login`")
    return TransientError(f"no AWS credentials could be had: {type(error).__name__}")
