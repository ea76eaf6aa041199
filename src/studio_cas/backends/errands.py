"""A large request to S3: botocore signs it and reads the answer in its event loop, the waiting thread moves the bytes.

botocore has no public way to sign a request that somebody else sends and to parse the answer to it. So its session,
asked by the loop to send, gives the request to the thread that waits for the result, and that sends it (see `direct`).
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self, TypeVar

from aiobotocore.awsrequest import AioAWSResponse

from studio_cas.backends.direct import Request
from studio_cas.backends.upload import Parts

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

    from studio_cas.backends.direct import Answer, Direct
    from studio_cas.ids import Buffer

T = TypeVar("T")
_of_this_request: ContextVar[Errands | None] = ContextVar("errands", default=None)


class Errands:
    """What one thread sends while it waits for a coroutine; more than one request where a bucket is elsewhere.

    `most` is the size of the content that is wanted.
    """

    def __init__(self, direct: Direct, most: int) -> None:
        self._direct = direct
        self._most = most
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    @staticmethod
    def of_this_request() -> Errands | None:
        """Those of the thread that waits for the coroutine that runs now; None where none takes any."""
        return _of_this_request.get()

    def run(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of the coroutine, which runs in the loop; what it gives to `send` meanwhile is sent here."""
        token = _of_this_request.set(self)
        try:
            result: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, loop)  # it takes the context along
        finally:
            _of_this_request.reset(token)
        result.add_done_callback(lambda _: self._waiting.put(None))
        try:
            while (errand := self._waiting.get()) is not None:
                errand()
        except BaseException:
            result.cancel()
            raise
        return result.result()

    async def send(self, request: Any, context: ssl.SSLContext | None) -> AioAWSResponse:
        """The answer to a request of botocore; called in the loop. Raises OSError."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Answer] = loop.create_future()

        def errand() -> None:
            try:
                answer = self._direct.exchange(_request(request, self._most, context))
            except OSError as error:
                loop.call_soon_threadsafe(_fail, answered, error)
            else:
                loop.call_soon_threadsafe(_succeed, answered, answer)

        self._waiting.put(errand)
        answer = await answered
        headers = {name.lower(): value for name, value in answer.headers.items()}
        response = AioAWSResponse(request.url, answer.status, headers, _Read(request.url, answer.body))
        if not request.stream_output:
            await response.content
        return response


class _Read:
    """A body that was read already, as aiobotocore expects one of aiohttp."""

    def __init__(self, url: str, body: Buffer) -> None:
        self.url = url
        self._body = body

    @property
    def content(self) -> _Read:
        """The stream, which is this."""
        return self

    async def read(self, amount: int = -1) -> Buffer:
        """All of it, and nothing the next time."""
        del amount
        body, self._body = self._body, b""
        return body if isinstance(body, memoryview) and len(body) else bytes(body)

    def at_eof(self) -> bool:
        """Whether it was read."""
        return not len(self._body)

    def close(self) -> None:
        """Nothing is open."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()


def _request(request: Any, most: int, trusted: ssl.SSLContext | None) -> Request:
    """What botocore has prepared and signed."""
    headers = {name: _text(value) for name, value in request.headers.items()}
    headers["Accept-Encoding"] = "identity"
    body = request.body
    if isinstance(body, Parts):
        parts, size = body.parts, body.size or 0
        return Request(request.method, request.url, headers | {"Content-Length": str(size)}, parts, trusted=trusted)
    return Request(request.method, request.url, headers, [body] if body else (), most, trusted)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _succeed(answered: asyncio.Future[Answer], answer: Answer) -> None:
    if not answered.done():  # given up meanwhile
        answered.set_result(answer)


def _fail(answered: asyncio.Future[Answer], error: OSError) -> None:
    if not answered.done():
        answered.set_exception(error)
