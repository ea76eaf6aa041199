"""Chunks in, places out: hash, look up, encode on every core, and append to packs, in order.

One thread reads and calls `small` and `large`; workers hash, look chunks up and encode them; the same thread takes
their results in the order in which the work was given and appends them to packs, so memory and order are bounded by one
queue.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from studio_cas.codec import frames, zstd
from studio_cas.codec.choose import RAW, RAW_ABOVE, Choice, Codec, choose
from studio_cas.formats.pack import Kind
from studio_cas.ids import digest
from studio_cas.store import dedup
from studio_cas.store.arena import CROWDED, CROWDED_FAR
from studio_cas.store.chunks import Batch, Encoded, Group
from studio_cas.store.hooks import HookIndex
from studio_cas.store.packing import PackStream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

    from studio_cas.formats.leaf import Place
    from studio_cas.ids import Buffer, PackId
    from studio_cas.store.arena import ArenaBuffer
    from studio_cas.store.chunks import Chunks
    from studio_cas.store.store import Store

T = TypeVar("T")
GROUP_SIZE = 256 * 1024
LARGE = 1024 * 1024
RUN_SIZE = 1024 * 1024
IN_BUFFER = frozenset({Codec.RAW, Codec.PLANES})  # stored parts lie where the plain bytes were read to
CHOICE_SPAN = 64 * 1024 * 1024
WORKERS = max(2, min(8, os.cpu_count() or 2))
FLIGHT_LIMIT = min(64, 16 + 8 * WORKERS) * 1024 * 1024  # a read for each worker, and two: more memory is slower


class Ingest:
    """One capture's way into the store. `owns`: does the parent version use a pack? Chunks there are always reused.

    Packs of `without` are learnt from nobody's hooks.
    """

    def __init__(
        self,
        store: Store,
        owns: Callable[[PackId], bool],
        without: frozenset[PackId] = frozenset(),
        *,
        compression: bool = True,
    ) -> None:
        self._store = store
        self._owns = owns
        self._compression = compression
        self.data = PackStream(store, Kind.DATA, learn=True)
        self.trees = PackStream(store, Kind.TREE, learn=False)
        self.held_buffers = CROWDED if store.backend.local else CROWDED_FAR
        self.new_chunks = 0
        self._copied_bytes = 0
        self.hooks = HookIndex(store, without)
        self._flights: deque[tuple[int, Future[Any], Callable[[Any], None]]] = deque()
        self._in_flight = 0
        self._group: list[tuple[bytes, bytes, Chunks]] = []
        self._group_bytes = 0
        self._pool: ThreadPoolExecutor | None = None
        self._looked_up: threading.Event | None = None

    def small(self, data: bytes, chunks: Chunks) -> None:
        """A whole file that is one chunk smaller than the minimum: it shares a frame with its neighbours."""
        chunks.pending += 1
        self._group.append((digest(data), data, chunks))
        self._group_bytes += len(data)
        if self._group_bytes >= GROUP_SIZE:
            self._send_group()

    def large(self, batch: Batch, chunks: Chunks, buffer: ArenaBuffer) -> None:
        """The next chunks of a file; `buffer` holds their bytes until they are stored."""
        chunks.pending += 1
        buffer.hold()
        before, after = self._looked_up, threading.Event()
        self._looked_up = after

        def work() -> list[Encoded]:
            return self._encode(batch, chunks.choices, before, after)

        def take(results: list[Encoded]) -> None:
            self._place(results, chunks, buffer, large=batch.size >= LARGE)
            chunks.pending -= 1
            buffer.release()

        self._submit(len(batch.view), work, take, after)

    def repeat(self, piece: memoryview, count: int, chunks: Chunks) -> None:
        """One chunk, `count` times: what a hole in a file reads as."""
        chunks.pending += 1

        def work() -> Encoded:
            batch = Batch(piece, [len(piece)], 0, len(piece), grouped=False)
            (encoded,) = self._encode(batch, chunks.choices, None, None)
            return encoded

        def take(encoded: Encoded) -> None:
            ((chunk_id, length),) = encoded.chunks
            place = encoded.place or self.data.placed.get(chunk_id)
            if place is None:
                (place,) = self.data.add(encoded.parts, encoded.codec, encoded.chunks)
                self.new_chunks += 1
            chunks.ids += [chunk_id] * count
            chunks.lengths += [length] * count
            chunks.places += [place] * count
            chunks.pending -= 1

        self._submit(len(piece), work, take)

    def work(self, work: Callable[[], T]) -> Future[T]:
        """Let a worker do it."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(WORKERS, "encode")
        return self._pool.submit(work)

    def _submit(
        self, size: int, work: Callable[[], Any], take: Callable[[Any], None], after: threading.Event | None = None
    ) -> None:
        future = self.work(work)
        if after:  # also where it is cancelled while a thread takes the next one, which would wait for ever
            future.add_done_callback(lambda _: after.set())
        self._flights.append((size, future, take))
        self._in_flight += size
        self.pump()

    def pump(self, *, wait: bool = False) -> None:
        """Take finished results; with `wait`, all of them."""
        while self._flights:
            size, future, take = self._flights[0]
            if not (wait or self._in_flight > FLIGHT_LIMIT or future.done()):
                return
            result = future.result()
            self._flights.popleft()
            self._in_flight -= size
            take(result)

    def _encode(
        self, batch: Batch, choices: dict[int, Choice], before: threading.Event | None, after: threading.Event | None
    ) -> list[Encoded]:
        """Hash, look up and encode. The look-up waits for `before`, that of the batch before, and ends with `after`.

        The hook that leads to the pack of these chunks may stand in that batch alone. The one before was begun before
        (the pool's queue is a queue), so its look-up comes.
        """
        view, lengths, offset, size, grouped = batch
        starts = list(accumulate(lengths, initial=0))
        try:
            ids = [digest(view[start:end]) for start, end in pairwise(starts)]
            if before:
                before.wait()
            known = self._known(ids, lengths, whole=len(view) == size)
        finally:
            if after:
                after.set()
        encoded = []
        index = 0
        while index < len(ids):
            end = index + 1
            limit = 0 if known[index] is not None else GROUP_SIZE if grouped else RUN_SIZE
            while end < len(ids) and known[end] is None and starts[end + 1] - starts[index] <= limit:
                end += 1
            piece = view[starts[index] : starts[end]]
            rows = list(zip(ids[index:end], lengths[index:end], strict=True))
            place = known[index]
            if place is not None:
                encoded.append(Encoded(rows, place, Codec.RAW, []))
            else:
                encoded += self._encode_run(piece, rows, offset + starts[index], choices, grouped=grouped)
            index = end
        return encoded

    def _encode_run(
        self, data: memoryview, rows: list[tuple[bytes, int]], offset: int, choices: dict[int, Choice], *, grouped: bool
    ) -> list[Encoded]:
        """Encode consecutive new chunks: into one frame where `grouped`, else each into its own."""
        choice = self._choice(choices, data, offset) if self._compression else RAW
        if grouped:
            return [Encoded(rows, None, *frames.encode(data, choice, offset))]
        stored = frames.encode_run(data, [length for _, length in rows], choice, offset)
        return [Encoded([row], None, codec, parts) for row, (codec, parts) in zip(rows, stored, strict=True)]

    def _known(self, ids: list[bytes], lengths: list[int], *, whole: bool) -> list[Place | None]:
        found = self._store.catalog.lookup(ids)
        if len(found) < len(ids):
            found |= self.hooks.neighbours(ids)
        placed = self.data.placed
        places = [placed.get(chunk_id) or found.get(chunk_id) for chunk_id in ids]
        return dedup.keep_runs(places, lengths, self._owns, whole=whole) if found else places

    def _choice(self, choices: dict[int, Choice], piece: memoryview, offset: int) -> Choice:
        """The codec for this stretch of the file; probed once every CHOICE_SPAN, in the middle of a chunk."""
        span = offset // CHOICE_SPAN
        choice = choices.get(span)
        if choice is None:
            middle = len(piece) // 4
            choice = choices[span] = choose(bytes(piece[middle : middle + 16384]), offset + middle)
        return choice

    def _place(self, results: list[Encoded], chunks: Chunks, buffer: ArenaBuffer, *, large: bool) -> None:
        for rows, known, codec, parts in results:
            place = known or (self.data.placed.get(rows[0][0]) if len(rows) == 1 else None)
            if place is None:
                release = None
                if codec in IN_BUFFER and buffer.crowded:  # few new chunks in much that is known would hold it all
                    parts = [b"".join(parts)]  # noqa: PLW2901 (the same bytes)
                elif codec in IN_BUFFER:
                    buffer.hold()
                    release = buffer.release
                places = self.data.add(parts, codec, rows, release)
                self.new_chunks += len(rows)
                for index, (chunk_id, _) in enumerate(rows):
                    self.hooks.add(chunk_id, places[0].pack, first=large and not chunks.ids and not index)
            else:
                places = [place]
            for chunk_id, length in rows:
                chunks.ids.append(chunk_id)
                chunks.lengths.append(length)
            chunks.places += places

    def _send_group(self) -> None:
        group, size = self._group, self._group_bytes
        self._group, self._group_bytes = [], 0

        def work() -> Group:
            return self.encode_group([data for _, data, _ in group], ids=[chunk_id for chunk_id, _, _ in group])

        def take(made: Group) -> None:
            for place, (chunk_id, data, chunks) in zip(self.place(made), group, strict=True):
                chunks.ids.append(chunk_id)
                chunks.lengths.append(len(data))
                chunks.places.append(place)
                chunks.pending -= 1

        self._submit(size, work, take)

    def encode_group(
        self, pieces: Sequence[Buffer], whole: Buffer | None = None, ids: list[bytes] | None = None
    ) -> Group:
        """Look up small files, and put the new ones into one frame, equal ones once; from any thread.

        `whole` are all of them, where they lie one after another. They are hashed first, where their ids are not known.
        """
        if ids is None:
            ids = [digest(piece) for piece in pieces]
        placed = self.data.placed
        known = self._store.catalog.lookup(ids)
        known |= {chunk_id: place for chunk_id in ids if (place := placed.get(chunk_id)) is not None}
        fresh = {chunk_id: piece for chunk_id, piece in zip(ids, pieces, strict=True) if chunk_id not in known}
        rows = [(chunk_id, len(piece)) for chunk_id, piece in fresh.items()]
        plain = b"".join(fresh.values()) if whole is None or len(fresh) < len(ids) else whole
        return Group(ids, known, rows, *self._frame(plain))

    def place(self, group: Group) -> list[Place]:
        """Append the frame of a group; the places of its files, in order."""
        places = group.known
        if group.fresh:
            placed = self.data.add(group.parts, group.codec, group.fresh)
            places |= {chunk_id: place for (chunk_id, _), place in zip(group.fresh, placed, strict=True)}
            self.new_chunks += len(group.fresh)
        return [places[chunk_id] for chunk_id in group.ids]

    def _frame(self, plain: Buffer) -> tuple[Codec, list[Buffer]]:
        """One frame of small chunks, which keeps nothing of `plain`."""
        if self._compression and len(plain):
            frame = zstd.compress(plain, zstd.GROUP_LEVEL)
            if len(frame) <= RAW_ABOVE * len(plain):
                return Codec.ZSTD, [frame]
        return Codec.RAW, [bytes(plain)]

    def copied(self, chunks: list[tuple[bytes, int]], codec: int, stored: Buffer) -> dict[bytes, Place]:
        """Append a frame of `chunks` (id, plain length) as it was stored in another pack; their places."""
        self._copied_bytes += len(stored)
        return self._append(chunks, codec, [stored])

    def grouped(self, chunks: list[tuple[bytes, bytes]]) -> dict[bytes, Place]:
        """Append small chunks (id, plain bytes), which share a frame; their places."""
        rows = [(chunk_id, len(plain)) for chunk_id, plain in chunks]
        codec, parts = self._frame(b"".join(plain for _, plain in chunks))
        self._copied_bytes += sum(map(len, parts))
        return self._append(rows, codec, parts)

    def _append(self, chunks: list[tuple[bytes, int]], codec: int, parts: list[Buffer]) -> dict[bytes, Place]:
        places = self.data.add(parts, codec, chunks)
        for chunk_id, _ in chunks:
            self.hooks.add(chunk_id, places[0].pack, first=False)
        return {chunk_id: place for (chunk_id, _), place in zip(chunks, places, strict=True)}

    def flush(self) -> None:
        """Wait until every chunk that was given has its place."""
        if self._group:
            self._send_group()
        self.pump(wait=True)

    def finish(self) -> None:
        """Everything given is in the store when this returns."""
        self.flush()
        self.data.finish()
        self.trees.finish()
        self.hooks.publish(self.data.bytes - self._copied_bytes)

    def close(self) -> None:
        """Stop the threads."""
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self.data.close()
        self.trees.close()
