"""A Google Cloud Storage in memory that finds names by an index, as the service does.

indexed_gcs.py PORT FOLDER PREFIX begins with the files of a folder, below a prefix. The emulator fake-gcs-server looks
at every object for each listing, and for each that is created: it is never filled with 100,000.
"""

from __future__ import annotations

import signal
import sys
from bisect import bisect_left, bisect_right, insort
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from studio_cas.testing.faulty_gcs import FaultyGcs
from studio_cas.testing.faulty_http import BUCKET, serve
from studio_cas.testing.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

LAST = "\U0010ffff"
HEALTH = f"/storage/v1/b/{BUCKET}/o?maxResults=1"


class Indexed(dict[str, bytes]):
    """Objects by name, and the names in order; what is deleted stays in the order, and is passed over."""

    names: list[str]

    def __setitem__(self, name: str, content: bytes) -> None:
        """Hold an object."""
        if name not in self:
            insort(self.names, name)
        super().__setitem__(name, content)


class IndexedGcs(FaultyGcs):
    """The service."""

    def page(self, prefix: str, delimiter: str, after: str, most: int) -> tuple[list[str], list[str], str]:
        """Objects, prefixes, and where the next page begins: of the names in the index from there on."""
        names = self.objects.names if isinstance(self.objects, Indexed) else sorted(self.objects)
        found: dict[str, bool] = {}
        at = max(bisect_left(names, prefix), bisect_right(names, f"{after}{LAST}" if after.endswith("/") else after))
        while at < len(names) and names[at].startswith(prefix) and len(found) <= most:
            rest, cut, _ = (
                names[at][len(prefix) :].partition(delimiter) if delimiter else (names[at][len(prefix) :], "", "")
            )
            name = f"{prefix}{rest}{cut}"
            if cut or name in self.objects:
                found[name] = not cut
            at = bisect_left(names, f"{name}{LAST}") if cut else at + 1
        page = list(found)[:most]
        whole = [name for name in page if found[name]]
        return whole, [name for name in page if not found[name]], page[-1] if len(found) > most else ""


@contextmanager
def indexed_gcs(folder: Path, prefix: str) -> Iterator[str]:
    """Run it until the block ends; gives its address. The bucket is `BUCKET`."""
    program = [sys.executable, __file__]
    with serving(lambda port: [*program, str(port), str(folder), prefix], HEALTH) as (endpoint, _):
        yield endpoint


def main() -> None:
    """Serve until killed."""
    port, folder, prefix = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    files = {f"{prefix}/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with serve(IndexedGcs, port) as service:
        objects = Indexed(files)
        objects.names = sorted(files)
        service.objects = objects
        signal.pause()


if __name__ == "__main__":
    main()
