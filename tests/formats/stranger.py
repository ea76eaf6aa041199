"""Reads an artifact from a store in a local folder: made from docs/format.md alone, it uses nothing of studio_cas.

`python stranger.py STORE EXP/TAG[@NUMBER] DEST` prints the manifest id; what does not verify raises ValueError.
"""

import base64
import json
import os
import struct
import sys
from pathlib import Path

import numpy as np
import zstandard
from blake3 import blake3

FOLDER, FILE, EXECUTABLE, LINK, CONTINUATION, EMBEDDED = 0, 1, 2, 3, 0x20, 0xFFFFFFFF


def expect(condition, what):
    if not condition:
        raise ValueError(what)


class Fields:
    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def take(self, length):
        self.at += length
        expect(self.at <= len(self.data), "something ends early")
        return self.data[self.at - length : self.at]

    def column(self, code, count):
        return struct.unpack("<" + code * count, self.take(struct.calcsize("<" + code) * count))

    def number(self):
        return int.from_bytes(self.take(4), "little")


def unzstd(frame, size):
    expect(zstandard.get_frame_parameters(frame).content_size == size, "a zstd frame has another size")
    return zstandard.ZstdDecompressor().decompress(frame)


def unplane(payload, size):
    fields = Fields(payload)
    width, phase, groups = fields.column("B", 3)
    table = [struct.unpack("<BBI", fields.take(6)) for _ in range(groups)]
    count = (size - phase) // width
    before, after = fields.take(phase), fields.take(size - phase - count * width)
    rotated, shift = np.zeros(count, np.uint64), 0
    for wide, mode, stored in table:
        plane = unzstd(fields.take(stored), count * wide) if mode else fields.take(stored)
        rotated |= np.frombuffer(plane, f"<u{wide}").astype(np.uint64) << shift
        shift += 8 * wide
    expect(shift == 8 * width and fields.at == len(payload), "byte planes do not fit")
    return before + (rotated >> 1 | (rotated & 1) << (shift - 1)).astype(f"<u{width}").tobytes() + after


def read_frame(store, kind, pack, offset, stored, size, codec):
    payload = np.fromfile(store / kind / pack.hex()[:2] / pack.hex(), np.uint8, stored, offset=offset).tobytes()
    plain = (lambda plain, _: plain, unzstd, unplane)[codec](payload, size)
    expect(len(plain) == size, "a frame has another size")
    return plain


def split(data, expected, magic):
    """The logical part of a root or leaf object, and the rest."""
    logical = data[4 : 4 + Fields(data).number()]
    expect(blake3(logical).digest() == expected and logical[:4] == magic, "a root or a leaf has another id")
    return Fields(logical, 4), Fields(data, 4 + len(logical))


def read_entries(store, record):
    tree, embedded = record["tree"], []
    if "inline" in tree:
        parts = Fields(unzstd(base64.b64decode(tree["inline"]), tree["plain_size"]))
        while parts.at < len(parts.data):
            embedded.append(parts.take(parts.number()))
        root = embedded.pop(0)
    else:
        pack, place = bytes.fromhex(tree["pack"]), (tree[key] for key in ("offset", "stored", "plain", "codec"))
        root = read_frame(store, "trees", pack, *place)
    fields, places = split(root, bytes.fromhex(record["manifest"]), b"SCR1")
    (flags, count), told, length = fields.column("I", 2), fields.column("Q", 2), fields.number()
    expect((flags, told) == (record["kind"] == "file", (record["files"], record["size"])), "root and record differ")
    ids, entries, sizes = fields.column("32s", count), fields.column("I", count), fields.column("Q", count)
    first = fields.take(length).split(b"\0")
    places.column("16s", places.number())  # the data packs
    packs = places.column("16s", places.number())
    for row, (pack, *place) in enumerate(zip(*(places.column("I", count) for _ in range(5)), strict=True)):
        data = embedded.pop(0) if pack == EMBEDDED else read_frame(store, "trees", packs[pack], *place)
        leaf = list(read_leaf(data, ids[row]))
        expect((leaf[0][0], len(leaf)) == (first[row], entries[row]), "root and leaf differ")
        expect(sum(entry[3] for entry in leaf) == sizes[row], "root and leaf differ")
        yield from leaf


def read_leaf(data, leaf_id):
    fields, places = split(data, leaf_id, b"SCL1")
    entries, chunks, length, _ = fields.column("I", 4)
    head = fields.take(entries), fields.column("Q", entries), fields.column("I", entries), fields.column("I", entries)
    lengths, ids, paths = fields.column("I", chunks), fields.column("32s", chunks), fields.take(length).split(b"\0")
    packs, mtimes = places.column("16s", places.number()), places.column("q", entries)
    columns = [*(places.column("I", chunks) for _ in range(5)), places.take(chunks)]
    rows = iter([(id_, size, packs[pack], *at) for id_, size, pack, *at in zip(ids, lengths, *columns, strict=True)])
    for path, mtime, attribute, size, count, literal in zip(paths, mtimes, *head, strict=True):
        yield path, attribute, mtime, size, fields.take(literal), [next(rows) for _ in range(count)]


def restore(store, record, dest):
    folders, last = {b""}, b""
    if record["kind"] == "folder":
        dest.mkdir()
    for path, attribute, mtime, _, literal, chunks in read_entries(store, record):
        kind, order, later = attribute & 15, path.replace(b"/", b"\0"), attribute & CONTINUATION
        safe = not {b"", b".", b".."} & set(path.split(b"/")) and path.rpartition(b"/")[0] in folders
        expect(safe and (order == last if later else order > last), f"{path!r} may not stand here")
        last, target = order, dest / os.fsdecode(path) if record["kind"] == "folder" else dest
        if kind == FOLDER:
            target.mkdir()
            folders.add(path)
            continue
        if kind == LINK:
            target.symlink_to(os.fsdecode(literal))
        else:
            with target.open("ab" if later else "xb") as file:
                file.write(literal)
                for chunk_id, length, pack, offset, stored, size, inner, codec in chunks:
                    piece = read_frame(store, "packs", pack, offset, stored, size, codec)[inner : inner + length]
                    expect(blake3(piece).digest() == chunk_id, f"a chunk of {path!r} is damaged")
                    file.write(piece)
            target.chmod(0o755 if kind == EXECUTABLE else 0o644)
        os.utime(target, ns=(mtime, mtime), follow_symlinks=False)


def main(store, name, dest):
    artifact, _, number = name.partition("@")
    folder = Path(store, "versions", artifact)
    found = [f"{10**16 - 1 - int(number):016}"] if number else sorted(os.listdir(folder))
    record = next(one for one in (json.loads((folder / key).read_bytes()) for key in found) if "removed" not in one)
    expect(f"{record['experiment']}/{record['tag']}" == artifact, "the record has another name")
    restore(Path(store), record, Path(dest))
    return record["manifest"]


if __name__ == "__main__":
    sys.stdout.write(main(*sys.argv[1:]) + "\n")
