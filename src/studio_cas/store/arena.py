"""Read buffers that are used again: fresh memory costs more than the reading.

A buffer is held by the flights that look into it and by the packs that will write from it; when the last one lets go,
it is free again. Several files share one buffer.
"""

from __future__ import annotations

import mmap
import threading
from contextlib import suppress

BUFFER_SIZE = 8 * 1024 * 1024
CROWDED = 24  # buffers in use; a first capture to a folder needs about 20: three packs and what is in flight
CROWDED_FAR = 8  # with a bucket, where seven packs wait for a slow line: what they hold is copied sooner
SHARE_ABOVE = 2 * 1024 * 1024


class ArenaBuffer:
    """Memory with a count of holders."""

    def __init__(self, arena: Arena) -> None:
        self.view = _memory()
        self.used = 0
        self._arena = arena
        self._holders = 1

    def hold(self) -> None:
        """One more holder."""
        with self._arena.lock:
            self._holders += 1

    def release(self) -> None:
        """One holder fewer; after the last, the memory may change."""
        with self._arena.lock:
            self._holders -= 1
            if self._holders == 0:
                self.used = 0
                self._arena.free.append(self)

    @property
    def crowded(self) -> bool:
        """Whether so many buffers are in use that a copy of a few bytes is better than to hold one more."""
        with self._arena.lock:
            return self._arena.made - len(self._arena.free) > self._arena.crowded

    def taken(self) -> None:
        """Begin anew with one holder."""
        self._holders = 1


def _memory() -> memoryview:
    """Fresh memory for a buffer, in huge pages where the system has them: it is filled, and read, faster."""
    memory = mmap.mmap(-1, BUFFER_SIZE)
    with suppress(AttributeError, OSError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)


class Arena:
    """Gives contiguous space to read into, from one thread; buffers are released from any.

    `crowded`: more buffers in use than that are many.
    """

    def __init__(self, crowded: int = CROWDED) -> None:
        self.crowded = crowded
        self.lock = threading.Lock()
        self.free: list[ArenaBuffer] = []
        self.made = 0
        self._current: ArenaBuffer | None = None

    def space(self, wanted: int) -> tuple[ArenaBuffer, memoryview]:
        """A buffer, and at most `wanted` bytes of it, or fewer where a large request begins in a used buffer."""
        current = self._current
        if current is None or BUFFER_SIZE - current.used < min(wanted, SHARE_ABOVE):
            if current:
                current.release()
            current = self._current = self._take()
        return current, current.view[current.used : current.used + wanted]

    def close(self) -> None:
        """Let go of the memory at once: buffers and arena know each other, and would wait for the cycle collector."""
        with self.lock:
            self.free.clear()
            self._current = None

    def _take(self) -> ArenaBuffer:
        with self.lock:
            if self.free:
                buffer = self.free.pop()
                buffer.taken()
                return buffer
            self.made += 1
        return ArenaBuffer(self)
