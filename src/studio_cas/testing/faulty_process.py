"""A small cloud that misbehaves as a script says (see `faulty_http`), as a process of its own.

`POST /_control` takes one order in JSON: what to do, and with what; the answer is JSON as well.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import urllib.request
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from studio_cas.testing.faulty_azure import FaultyAzure
from studio_cas.testing.faulty_gcs import FaultyGcs
from studio_cas.testing.faulty_http import Fault, FaultyService, Handler, serve
from studio_cas.testing.faulty_s3 import FaultyS3
from studio_cas.testing.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTROL: Final = "/_control"
KINDS: Final[dict[str, type[FaultyService]]] = {"gcs": FaultyGcs, "s3": FaultyS3, "azure": FaultyAzure}


class Controlled(Handler):
    """A handler that takes orders as well."""

    kept: ClassVar[dict[str, dict[str, bytes]]] = {}

    def serve(self) -> None:
        """Follow an order, or serve."""
        if self.path != CONTROL:
            return super().serve()
        order = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        content = json.dumps(self._follow(order)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        return None

    def _follow(self, order: dict[str, Any]) -> object:
        state, name = self.state, order.get("name", "")
        match order.get("do"):
            case "plan":
                state.plan(Fault(**order["fault"]), order["at"], forever=order["forever"])
            case "keep":
                self.kept[name] = dict(state.objects)
            case "restore":
                state.reset()
                state.objects = dict(self.kept[name])
            case "calm":
                seen, hit = state.seen, state.hit
                state.calm()
                return {"seen": seen, "hit": hit}
            case "intact":
                return all(state.objects.get(key) == content for key, content in self.kept[name].items())
        return None


@dataclass(frozen=True, slots=True)
class FaultyCloud:
    """A running service: what it speaks, its address, and the orders that it takes."""

    kind: str
    endpoint: str
    _opener: urllib.request.OpenerDirector = field(
        default_factory=lambda: urllib.request.build_opener(urllib.request.ProxyHandler({}))
    )

    def plan(self, fault: Fault, at: int, *, forever: bool) -> None:
        """Let request number `at` fail, counted from the last `calm` or `restore`; or all from there on."""
        self._order(do="plan", fault=asdict(fault), at=at, forever=forever)

    def calm(self) -> tuple[int, int]:
        """Let nothing fail any more; how many requests there were since the last time, and how many failed."""
        said = self._order(do="calm")
        return said["seen"], said["hit"]

    def keep(self, name: str) -> None:
        """Keep what the bucket holds, under a name."""
        self._order(do="keep", name=name)

    def restore(self, name: str) -> None:
        """Let the bucket hold what was kept, and nothing fail."""
        self._order(do="restore", name=name)

    def intact(self, name: str) -> bool:
        """Whether everything that was kept is there as it was."""
        return bool(self._order(do="intact", name=name))

    def _order(self, **order: Any) -> Any:
        with self._opener.open(self.endpoint + CONTROL, json.dumps(order).encode(), timeout=60) as answer:
            return json.loads(answer.read())


@contextmanager
def faulty_cloud(kind: str) -> Iterator[FaultyCloud]:
    """Run a service ("gcs" or "s3") until the block ends; it dies with this process, however that ends."""
    program = [sys.executable, "-m", "studio_cas.testing.faulty_process", kind]
    with serving(lambda port: [*program, str(port)], CONTROL) as (endpoint, _):
        yield FaultyCloud(kind, endpoint)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    with serve(KINDS[options.kind], options.port, Controlled):
        signal.pause()


if __name__ == "__main__":
    main()
