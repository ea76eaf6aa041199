"""Packs being built and packs being uploaded: frames go in, in order; whole packs go out, a few at a time."""

from __future__ import annotations

import threading
from array import array
from functools import partial
from itertools import accumulate, islice, repeat
from typing import TYPE_CHECKING

from studio_cas.formats import keys, pack
from studio_cas.formats.leaf import Place
from studio_cas.formats.pack import Footer, Kind
from studio_cas.ids import PackId

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

    from studio_cas.ids import Buffer
    from studio_cas.store.store import Store

_place = partial(tuple.__new__, Place)  # many are made, and this is three times as fast as Place(...)
UPLOADS = 2
REMOTE_UPLOADS = 6


class PackBuilder:
    """One pack in memory: the stored parts, uncopied, and the columns of its footer."""

    def __init__(self, kind: Kind) -> None:
        self.pack_id = PackId.random()
        self.kind = kind
        self.size = pack.HEADER_SIZE
        self.chunks: list[tuple[bytes, Place]] = []
        self.releases: list[Callable[[], None]] = []
        self._parts: list[Buffer] = [pack.header(kind)]
        self._stored = array("I")
        self._plain = array("I")
        self._codecs = bytearray()
        self._frames = array("I")
        self._lengths = array("I")

    def add(self, parts: Sequence[Buffer], codec: int, chunks: Sequence[tuple[bytes, int]]) -> list[Place]:
        """Append a frame that holds `chunks` (id, plain length), one after another; their places."""
        stored = sum(map(len, parts))
        lengths = [length for _, length in chunks]
        plain = sum(lengths)
        offsets = accumulate(lengths, initial=0)
        columns = map(repeat, (self.pack_id, self.size, stored, plain))
        places = list(map(_place, zip(*columns, islice(offsets, len(lengths)), repeat(codec), strict=False)))
        self.chunks += [(chunk_id, place) for (chunk_id, _), place in zip(chunks, places, strict=True)]
        self._frames.extend([len(self._stored)] * len(chunks))
        self._lengths.extend(lengths)
        self._parts.extend(parts)
        self._stored.append(stored)
        self._plain.append(plain)
        self._codecs.append(codec)
        self.size += stored
        return places

    def finish(self) -> list[Buffer]:
        """The whole pack, in parts."""
        footer = Footer(
            self._stored,
            self._plain,
            bytes(self._codecs),
            self._frames,
            self._lengths,
            b"".join(chunk_id for chunk_id, _ in self.chunks),
        )
        return [*self._parts, *pack.encode_footer(footer)]


class PackStream:
    """Frames in, packs into the store. `add` from one thread only; at most a few packs are held in memory."""

    def __init__(self, store: Store, kind: Kind, *, learn: bool) -> None:
        self._store = store
        self._kind = kind
        self._learn = learn
        self._builder: PackBuilder | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._limit = UPLOADS if store.backend.local else REMOTE_UPLOADS
        self._slots = threading.Semaphore(self._limit)
        self._lock = threading.Lock()
        self._uploads: list[Future[None]] = []
        self.packs: list[PackId] = []
        self.bytes = 0
        self.placed: dict[bytes, Place] = {}

    def add(
        self,
        parts: Sequence[Buffer],
        codec: int,
        chunks: Sequence[tuple[bytes, int]],
        release: Callable[[], None] | None = None,
    ) -> list[Place]:
        """Append a frame; `release` is called when its pack is in the store, and the parts may change."""
        if self._builder is None:
            self._builder = PackBuilder(self._kind)
            self.packs.append(self._builder.pack_id)
        builder = self._builder
        places = builder.add(parts, codec, chunks)
        if release:
            builder.releases.append(release)
        for (chunk_id, _), place in zip(chunks, places, strict=True):
            self.placed[chunk_id] = place
        if builder.size >= pack.TARGET_SIZE:
            self.send()
        return places

    def send(self) -> None:
        """Upload the pack that is being built, beside what comes."""
        builder, self._builder = self._builder, None
        if builder is None:
            return
        self._raise_failures()
        self._slots.acquire()
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self._limit, "upload")
        self._uploads.append(self._pool.submit(self._create, builder))

    def _create(self, builder: PackBuilder) -> None:
        try:
            parts = builder.finish()
            self._store.backend.create(keys.pack(builder.pack_id, tree=self._kind is Kind.TREE), parts)
            with self._lock:
                self.bytes += sum(map(len, parts))
            if self._learn:
                self._store.recent.keep(builder.pack_id, parts)
                self._store.catalog.add(builder.pack_id, builder.chunks)
                for chunk_id, place in builder.chunks:
                    if self.placed.get(chunk_id) is place:
                        del self.placed[chunk_id]
        finally:
            for release in builder.releases:
                release()
            self._slots.release()

    def _raise_failures(self) -> None:
        waiting = []
        for upload in self._uploads:
            if upload.done():
                upload.result()
            else:
                waiting.append(upload)
        self._uploads = waiting

    def finish(self) -> None:
        """Upload what is left, and wait until every pack is in the store. Raises what an upload raised."""
        if self._pool is None and self._builder is not None:
            builder, self._builder = self._builder, None
            self._slots.acquire()
            self._create(builder)  # a single pack needs no thread
        self.send()
        for upload in self._uploads:
            upload.result()
        self._uploads = []

    def close(self) -> None:
        """Stop the threads; packs not yet begun are dropped."""
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)
