"""Folders to capture, and what they hold, for the reliability tests."""

from __future__ import annotations

import importlib
import os
import random
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


IMPORTED_LATER = ("concurrent.futures.thread", "studio_cas.store.catalog", "studio_cas.backends.local")


def fill(root: Path, seed: int = 1, *, big: int = 3 << 20) -> Path:
    """A folder with an inline file, small files, one of many chunks, a link and an empty folder."""
    source = random.Random(seed)
    (root / "sub" / "empty").mkdir(parents=True, exist_ok=True)
    (root / "tiny").write_bytes(source.randbytes(40))
    for number in range(8):
        (root / "sub" / f"small-{number}").write_bytes(source.randbytes(5000))
    (root / "big").write_bytes(source.randbytes(big))
    if not os.path.lexists(root / "link"):
        (root / "link").symlink_to("sub/small-0")
    return root


def snapshot(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Every path below `root`, with its kind and content; folders are read by descriptor, however deep they are."""
    found: dict[bytes, tuple[object, ...]] = {}
    _snapshot(os.open(root, os.O_RDONLY | os.O_DIRECTORY), b"", found)
    return found


def _snapshot(folder: int, prefix: bytes, found: dict[bytes, tuple[object, ...]]) -> None:
    pending = [(folder, prefix)]
    while pending:
        opened, before = pending.pop()
        for name in map(os.fsencode, os.listdir(opened)):
            status = os.stat(name, dir_fd=opened, follow_symlinks=False)
            path = before + name
            if stat.S_ISDIR(status.st_mode):
                found[path] = ("folder",)
                pending.append((os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=opened), path + b"/"))
            elif stat.S_ISLNK(status.st_mode):
                found[path] = ("link", os.readlink(name, dir_fd=opened))
            elif stat.S_ISREG(status.st_mode):
                with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=opened), "rb") as file:
                    found[path] = ("file", bool(status.st_mode & 0o100), file.read())
            else:
                found[path] = ("special",)
        os.close(opened)


def names(folder: Path) -> list[str]:
    """What a folder holds, hidden names included."""
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def as_nobody(work: Callable[[], object]) -> str:
    """Run `work` in a child that is nobody; its answer, or what it raised, as text.

    What is imported when it is used is imported before: nobody may be kept from where Python is installed.
    """
    for name in IMPORTED_LATER:
        importlib.import_module(name)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            answer = work()
        except BaseException as error:  # noqa: BLE001 (the child's answer)
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, str(answer).encode(errors="surrogateescape"))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        answer = answers.read().decode()
    os.waitpid(child, 0)
    return answer
