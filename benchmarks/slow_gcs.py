"""A Google Cloud Storage in memory behind a slow line.

slow_gcs.py PORT RATE takes the bytes a second of all uploads together; 0 is a line that is not slow. Of packs nothing
is kept: they would fill the memory.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from studio_cas.backends.gcs_upload import checksum
from studio_cas.testing.faulty_gcs import FaultyGcs
from studio_cas.testing.faulty_http import BUCKET, serve
from studio_cas.testing.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from studio_cas.testing.faulty_http import Answer

HEALTH = f"/storage/v1/b/{BUCKET}/o?maxResults=1"
LINE = threading.Lock()
PACK = 1 << 20


class SlowGcs(FaultyGcs):
    """The service; one upload after the other gets through the line."""

    rate = 0.0

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        """Answer once the body would have arrived."""
        if method != "POST" or len(body) < PACK:
            return super().answer(method, target, headers, body)
        if self.rate:
            with LINE:
                time.sleep(len(body) / self.rate)
        boundary = b"--" + headers["Content-Type"].partition("boundary=")[2].encode()
        begin = body.index(b"\r\n\r\n", body.index(boundary, len(boundary))) + 4  # of the second part
        content = memoryview(body)[begin : -len(boundary) - 6]
        about = {"size": str(len(content)), **checksum([content])}  # one look at it: the client has the same two cores
        return 200, {"Content-Type": "application/json"}, json.dumps(about).encode()


@contextmanager
def slow_gcs(rate: float) -> Iterator[str]:
    """Run it until the block ends; gives its address. The bucket is `BUCKET`."""
    with serving(lambda port: [sys.executable, __file__, str(port), str(rate)], HEALTH) as (endpoint, _):
        yield endpoint


def main() -> None:
    """Serve until killed."""
    SlowGcs.rate = float(sys.argv[2])
    with serve(SlowGcs, int(sys.argv[1])):
        signal.pause()


if __name__ == "__main__":
    main()
