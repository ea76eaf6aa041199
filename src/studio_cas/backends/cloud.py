"""What the clients of clouds have in common: a file system of fsspec as the session, its event loop, bounded requests.

fsspec's implementations bring the event loop, the session and the refreshing of credentials; requests are our own.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from studio_cas.backends.direct import CutOffError, Direct, HandshakeError, UnreachableError
from studio_cas.backends.slots import Slots
from studio_cas.errors import StoreUnavailableError, StudioError, TransientError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

UPLOADS: Final = 8  # at once; more is not faster, and each holds a pack in memory
REQUESTS: Final = 32
CONNECT_SECONDS: Final = 15.0
SLOWEST: Final = 30  # a request that makes progress may take this many time-outs


class CloudClient(ABC):
    """Blocking requests from any thread of any process: after a fork there is a new session.

    `endpoint` is the service's address; `timeout` the seconds without a sign of life after which a request is lost.
    """

    def __init__(self, endpoint: str, timeout: float) -> None:
        self.endpoint = endpoint
        self.timeout = timeout
        self._pid = 0
        self._filesystem: Any = None
        self._inherited: list[Any] = []  # kept, as closing them would touch an event loop of another process
        self._renew()

    def close(self) -> None:
        """Close the session, where it is this process's."""
        filesystem, self._filesystem = self._filesystem, None
        if filesystem is not None and self._pid == os.getpid():
            self._disconnect(filesystem)
            self._direct.close()

    @abstractmethod
    def _connect(self) -> Any:
        """A new file system. Raises StudioError with one sentence where the credentials are none."""

    @abstractmethod
    def _disconnect(self, filesystem: Any) -> None:
        """Close its session."""

    def _slot(self, *, upload: bool) -> AbstractContextManager[None]:
        """What a request holds while it is under way: fewer at once where the service is busy."""
        return (self._uploads if upload else self._requests).hold()

    def _connected(self) -> Any:
        if self._pid != os.getpid():
            self._renew()
        self._direct.tidy()
        with self._lock:
            if self._filesystem is None:
                self._filesystem = self._connect()
            return self._filesystem

    def _renew(self) -> None:
        """Leave everything behind that belongs to the process we were forked from: its locks may never be released."""
        self._inherited += [self._filesystem, getattr(self, "_direct", None)]
        self._filesystem = None
        self._direct = Direct(min(self.timeout, CONNECT_SECONDS), self.timeout, self.timeout * SLOWEST)
        self._lock = threading.Lock()
        self._uploads, self._requests = Slots(UPLOADS), Slots(REQUESTS)
        self._pid = os.getpid()

    def _unanswered(self, error: Exception) -> StudioError:
        """Our error for a request that got no whole answer."""
        if isinstance(error, aiohttp.ClientSSLError | aiohttp.InvalidURL | HandshakeError):
            return StoreUnavailableError(f"{self.endpoint} can not be reached: {error}")
        if isinstance(error, TimeoutError):
            return TransientError(f"{self.endpoint} gave no answer within {self.timeout:g} s")
        if isinstance(error, aiohttp.ClientConnectorError | UnreachableError):
            cause = error if isinstance(error, UnreachableError) else error.os_error
            number = cause.errno or 0  # negative where the name is not known
            reason = os.strerror(number) if number > 0 else str(error.strerror)
            return TransientError(f"{self.endpoint} can not be reached: {reason}")
        if isinstance(error, aiohttp.ClientPayloadError | CutOffError):  # whose text is of an exception in an exception
            return TransientError(f"an answer of {self.endpoint} was cut off")
        return TransientError(f"no answer from {self.endpoint}: {str(error) or type(error).__name__}")
