"""Writers of files that a capture must not tear: each block of a file says of which generation it is."""

import os
import re
import threading
import time
from contextlib import contextmanager

BLOCK = 4096


def generation(number, blocks):
    """The content of one state of a file: every block says which."""
    return (b"%015d\n" % number * (BLOCK // 16)) * blocks


def whole(data):
    """Whether `data` is of one state, from beginning to end."""
    return len(set(re.findall(rb"\d{15}", data))) <= 1 and len(data) % BLOCK == 0


@contextmanager
def writing(work):
    """Call `work(number)` over and over in a thread."""
    stop = threading.Event()
    failures = []

    def run():
        number = 0
        try:
            while not stop.is_set():
                number += 1
                work(number)
        except BaseException as error:  # noqa: BLE001 (told below)
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    getattr(work, "close", lambda: None)()
    assert not failures


def in_place(path, blocks, number, pause):
    """Rewrite the file from its beginning, with a pause in the middle while it stays open."""
    with path.open("r+b", buffering=0) as file:
        data = generation(number, blocks)
        file.write(data[: len(data) // 2])
        time.sleep(pause)
        file.write(data[len(data) // 2 :])
    time.sleep(pause)


def truncated(path, blocks, number, pause):
    """What open(path, "w") does: the file is empty, then grows."""
    with path.open("wb", buffering=0) as file:
        time.sleep(pause)
        for _ in range(blocks):
            file.write(generation(number, 1))
        time.sleep(pause)
    time.sleep(pause)


def replaced(path, blocks, number, pause):
    """The file is another one at once."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(generation(number, blocks + number % 3))
    beside.replace(path)
    time.sleep(pause)


def resized(path, blocks, number, pause):
    """Shrinks and grows, one state after another."""
    with path.open("r+b", buffering=0) as file:
        os.truncate(path, BLOCK)
        file.write(generation(number, blocks if number % 2 else 1))
        if not number % 2:
            os.truncate(path, BLOCK)
    time.sleep(pause)


def vanishing(path, blocks, number, pause):
    """Goes and comes."""
    path.unlink(missing_ok=True)
    time.sleep(pause)
    replaced(path, blocks, number, pause)


WRITERS = [in_place, truncated, replaced, resized, vanishing]
