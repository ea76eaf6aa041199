"""Copy a whole pack from one store to another: read, verify every chunk, create under a new name.

The name is new because a name is never used twice: a collector of that store may still hold a list with the old one.
"""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, NamedTuple

from studio_cas.errors import CorruptError, NotFoundError
from studio_cas.formats import keys, pack
from studio_cas.formats.pack import HEADER_SIZE, Kind
from studio_cas.ids import PackId
from studio_cas.store.footers import check_chunks, placed_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from studio_cas.formats.leaf import Place
    from studio_cas.store.store import Store

LOCAL_COPIES = 2
REMOTE_COPIES = 4  # each holds a pack of up to 48 MiB


class CopiedPack(NamedTuple):
    """A pack that is in the target now: its new name, its size, and where its chunks lie."""

    pack_id: PackId
    size: int
    chunks: list[tuple[bytes, Place]]


def copy_packs(
    source: Store, target: Store, packs: Iterable[PackId], wanted: Callable[[PackId], bool]
) -> Iterator[CopiedPack]:
    """Copy those of `packs` that are `wanted` (asked in a worker); each as it is done. Raises CorruptError."""
    copies = LOCAL_COPIES if source.backend.local and target.backend.local else REMOTE_COPIES

    def work(old: PackId) -> CopiedPack | None:
        return copy_pack(source, target, old) if wanted(old) else None

    with ThreadPoolExecutor(copies, "copy") as pool:
        under_way: set[Future[CopiedPack | None]] = set()
        try:
            for old in packs:
                if len(under_way) >= copies:
                    done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    yield from filter(None, (future.result() for future in done))
                under_way.add(pool.submit(work, old))
            yield from filter(None, (future.result() for future in under_way))
        finally:
            for future in under_way:
                future.cancel()


def copy_pack(source: Store, target: Store, old: PackId) -> CopiedPack:
    """Copy one pack. Raises CorruptError, and then nothing was created."""
    try:
        data = memoryview(source.backend.read(keys.pack(old), 0, pack.HARD_CAP))
        rows = placed_chunks(old, data)
        _check_header(data)
        check_chunks(data, rows)
    except NotFoundError as error:
        message = f"pack {old.hex()} is missing from {source.url}"
        raise CorruptError(message) from error
    except CorruptError as error:
        message = f"pack {old.hex()} of {source.url} is damaged ({error})"
        raise CorruptError(message) from error
    new = PackId.random()
    target.backend.create(keys.pack(new), [data])
    chunks = [(chunk_id, place._replace(pack=new)) for chunk_id, place, _ in rows]
    target.catalog.add(new, chunks)
    return CopiedPack(new, len(data), chunks)


def _check_header(data: memoryview) -> None:
    if bytes(data[:HEADER_SIZE]) != pack.header(Kind.DATA):
        message = "its header is not that of a data pack"
        raise CorruptError(message)
