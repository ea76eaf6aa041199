"""Chunks on their way into packs: what they keep in memory."""

from __future__ import annotations

import os
import threading

import pytest

from studio_cas.backends.memory import MemoryBackend
from studio_cas.formats import keys
from studio_cas.store import arena
from studio_cas.store import ingest as module
from studio_cas.store.arena import Arena
from studio_cas.store.chunks import Batch, Chunks
from studio_cas.store.footers import read_footer
from studio_cas.store.ingest import Ingest
from studio_cas.store.store import open_store

LENGTH = 300_000


@pytest.fixture
def store(tmp_path):
    with open_store(MemoryBackend(), home=tmp_path / "home") as opened:
        yield opened


def test_a_new_chunk_here_and_there_does_not_hold_a_buffer_each(store):
    buffers, chunks = Arena(), Chunks()
    ingest = Ingest(store, lambda _: False)
    pieces = [os.urandom(LENGTH) for _ in range(2 * arena.CROWDED)]
    for piece in pieces:
        buffer, space = buffers.space(arena.BUFFER_SIZE)
        space[:LENGTH] = piece
        buffer.used = arena.BUFFER_SIZE
        ingest.large(Batch(space[:LENGTH], [LENGTH], 0, LENGTH, grouped=False), chunks, buffer)
        ingest.pump(wait=True)
    assert buffers.made <= arena.CROWDED + 2
    ingest.finish()
    ingest.close()
    stored = [row for pack in ingest.data.packs for row in read_footer(store, pack)]
    assert stored == list(zip(chunks.ids, chunks.places, strict=True))
    for piece, (_, place) in zip(pieces, stored, strict=True):
        assert bytes(store.backend.read(keys.pack(place.pack), place.offset, place.stored)) == piece


def test_work_that_is_dropped_holds_up_nothing_behind_it(store, monkeypatch):
    """As when a capture is given up: what waits is cancelled, while a thread takes what comes next in the queue."""
    monkeypatch.setattr(module, "WORKERS", 1)
    ingest, buffers, gate = Ingest(store, lambda _: False), Arena(), threading.Event()
    ingest._submit(1, gate.wait, lambda _: None)
    for _ in range(2):
        buffer, space = buffers.space(LENGTH)
        buffer.used += LENGTH
        ingest.large(Batch(space, [LENGTH], 0, LENGTH, grouped=False), Chunks(), buffer)
    _, dropped, behind = (future for _, future, _ in ingest._flights)
    assert dropped.cancel()
    gate.set()
    assert behind.result(timeout=60)
    ingest.close()
