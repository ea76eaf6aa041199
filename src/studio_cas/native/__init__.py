"""The compiled loops: a small library in C, called through ctypes, where it was built and is not switched off.

A call releases the interpreter lock, and works on a whole batch. Nothing needs the library: each of its callers has the
same in Python, which is slower (docs/adr/0017-c-through-ctypes.md).
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studio_cas.ids import Buffer

VERSION = 1  # that of native.h: what an older source tree left behind in this folder is not used
SWITCH = "STUDIO_NATIVE"
FILE = Path(__file__).with_name("studio_native.so")

COLUMNS = 5  # of 8 bytes, in what stat says of a file
SIGNED = (1, 2)  # times may be before 1970

_pointer, _size, _int = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
_SIGNATURES = {
    "studio_split": (None, (_pointer, _size, _int, ctypes.c_char_p, _int, _pointer)),
    "studio_merge": (None, (_pointer, _size, _int, ctypes.c_char_p, _int, _pointer)),
    "studio_read": (_int, (_int, _int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int64, _pointer, _pointer)),
    "studio_write": (_int, (_int, _int, ctypes.c_char_p, ctypes.c_char_p, _pointer, _pointer, _pointer)),
    "studio_list_begin": (_pointer, (_int,)),
    "studio_list_end": (None, (_pointer,)),
    "studio_list": (_int, (_pointer, ctypes.c_char_p, _int, _pointer, _pointer, _pointer, _pointer)),
    "studio_entropies": (None, (_pointer, _size, _int, _pointer)),
}


@cache
def library() -> ctypes.CDLL | None:
    """The library, or None where its callers have to do without."""
    return _loaded()[0]


def state() -> str:
    """Whether the library is in use, and if not, why: for people."""
    return _loaded()[1]


@cache
def _loaded() -> tuple[ctypes.CDLL | None, str]:
    if os.environ.get(SWITCH) == "0":
        return None, f"switched off by {SWITCH}=0"
    if not FILE.exists():
        return None, "not built: no C compiler was found when this was installed, or it failed"
    if sys.implementation.name != "cpython" or sys.byteorder != "little":
        return None, "not for this Python or processor"
    try:
        found = ctypes.CDLL(os.fspath(FILE), use_errno=True)
        version = found.studio_native_version()
        if version != VERSION:
            return None, f"of another version ({version}, and {VERSION} is needed): install again"
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(found, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        return None, f"cannot be loaded: {error}"
    return found, "in use"


def columns(rows: memoryview, room: int, count: int) -> list[list[int]]:
    """What files.c put in `rows`, with room for so many files, of the first `count`: size, times, inode, device."""
    return [
        rows[8 * room * index : 8 * (room * index + count)].cast("q" if index in SIGNED else "Q").tolist()
        for index in range(COLUMNS)
    ]


class _View(ctypes.Structure):
    """CPython's Py_buffer, as its stable ABI lays it out."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


@cache
def _buffer_calls() -> tuple[ctypes._FuncPointer, ctypes._FuncPointer]:
    ask, release = ctypes.pythonapi.PyObject_GetBuffer, ctypes.pythonapi.PyBuffer_Release
    ask.argtypes, release.argtypes = (ctypes.py_object, ctypes.POINTER(_View), ctypes.c_int), (ctypes.POINTER(_View),)
    release.restype = None
    return ask, release


def address(data: Buffer) -> int:
    """Where the bytes of `data` lie in memory; valid as long as `data` is kept, and does not change its size."""
    ask, release = _buffer_calls()
    view = _View()
    ask(data, ctypes.byref(view), 0)
    release(ctypes.byref(view))
    return view.buf or 0
