"""A real server that speaks S3, moto, as a process for the time of the tests; on demand with a fault of its own.

Run as a program, `python -m studio_cas.testing.s3_server PORT [FAULT…]` is that server.
"""

from __future__ import annotations

import secrets
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from studio_cas.testing.serving import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

IGNORES_PRECONDITIONS: Final = "ignores-preconditions"
"""The fault of old and of simple services: what exists is overwritten."""
CREATE_ONLY: Final = "create-only"
"""No fault: a credential that may create, read and list; whatever deletes or overwrites is answered with 403."""
_FORBIDDEN: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>User: arn:aws:iam::1:user/writer '
    b"is not authorized to perform: s3:DeleteObject</Message></Error>"
)


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running server: its address, and the id of its process."""

    endpoint: str
    pid: int

    def new_bucket(self) -> str:
        """The name of a bucket that does not exist yet."""
        return f"bucket-{secrets.token_hex(8)}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find it, and to find no other."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": "AKIATESTING",
            "AWS_SECRET_ACCESS_KEY": "canary-of-the-secret",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextmanager
def s3_server(*faults: str) -> Iterator[S3Server]:
    """Run a server that keeps everything in memory, on a free port of 127.0.0.1, until the block ends.

    It honours `If-None-Match: *`, and keeps none of the permissions. It dies with this process, however that ends.
    """

    def command(port: int) -> list[str]:
        return [sys.executable, "-m", "studio_cas.testing.s3_server", str(port), *faults]

    with serving(command, "/moto-api/") as (endpoint, pid):
        yield S3Server(endpoint, pid)


def installed() -> bool:
    """Whether the server and our client's libraries are there."""
    return all(find_spec(name) for name in ("moto", "flask", "flask_cors", "s3fs"))


class Guarded:
    """moto, one change at a time: it looks whether an object exists, and then writes, which two requests could do."""

    def __init__(self, service: Callable[..., Iterable[bytes]], faults: Iterable[str]) -> None:
        self._service = service
        self._faults = frozenset(faults)
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        method = environ["REQUEST_METHOD"]
        if IGNORES_PRECONDITIONS in self._faults:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if CREATE_ONLY in self._faults and (method == "DELETE" or self._overwrites(environ)):
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [_FORBIDDEN]
        if method != "PUT":
            return self._service(environ, start_response)
        with self._lock:
            return list(self._service(environ, start_response))

    def _overwrites(self, environ: dict[str, Any]) -> bool:
        """Whether this is a PUT of an object without the condition that there be none."""
        is_object = environ["PATH_INFO"].strip("/").count("/") > 0
        return environ["REQUEST_METHOD"] == "PUT" and is_object and environ.get("HTTP_IF_NONE_MATCH") != "*"


def _serve(port: int, *faults: str) -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import run_simple

    service = Guarded(DomainDispatcherApplication(create_backend_app), faults)
    run_simple("127.0.0.1", port, service, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), *sys.argv[2:])
