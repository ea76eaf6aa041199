"""Objects as they were written first: they are read for ever, and written in the same way.

Compressed parts are only decoded: what zstd makes of bytes may differ from one of its versions to the next.
"""

from __future__ import annotations

import base64
import json
from array import array
from pathlib import Path

from tests.golden import expect, may_make, noise

from studio_cas.chunking.parameters import ChunkingParameters
from studio_cas.codec import zstd
from studio_cas.codec.choose import Codec
from studio_cas.formats import collection, experiment, hooks, keys, leaf, pack, root, store_config, version
from studio_cas.formats.leaf import CONTINUATION, CONTINUED, EntryKind, Leaf, Place
from studio_cas.formats.pack import Footer, Kind
from studio_cas.formats.root import LeafRow, Root
from studio_cas.ids import LeafId, ManifestId, PackId, digest
from studio_cas.store.footers import read_footer
from studio_cas.store.packing import PackBuilder
from studio_cas.store.store import open_store

GOLDEN = Path(__file__).parent / "golden"
PACKS = tuple(PackId(noise(f"pack {number}", 16)) for number in range(3))
TREE_PACK = PackId(noise("tree pack", 16))
PIECES = [noise(f"piece {number}", 100 + number) for number in range(6)]
LEAF_ID = LeafId.parse("543b4dd27d356f7d265b7300e4bcc7dac2b32114c0d90948dc58d672e6207898")
MANIFEST_ID = ManifestId.parse("2f48b2fed14c5692b04fcb289208585227486055954ed52b18c90bd47bd3e2d5")
EMPTY_MANIFEST_ID = ManifestId.parse("0cf84020854e3a4a9b61d177e1dc9ddae202aadf14f0289aa0792d714d2fc60d")
TIME = 1764000000.25


def golden_leaf() -> Leaf:
    """Every kind of entry; chunks in two packs, one of them twice."""
    made = Leaf()
    cdc, fixed, tensor, log = (profile << 6 for profile in range(4))
    entries = [
        (b"a", EntryKind.FOLDER, 0, b"", ()),
        (b"a/empty", EntryKind.FILE, 0, b"", ()),
        (b"a/inline", EntryKind.FILE, 6, b"inline", ()),
        (b"a/runs.db", EntryKind.FILE | fixed, 201, b"", (0, 1)),
        (b"a-", EntryKind.EXECUTABLE | cdc, 102, b"", (2,)),
        (b"b\xff\n", EntryKind.LINK, 0, b"../else\xfe", ()),
        (b"model.pt", EntryKind.FILE | tensor, 305, b"", (0, 2, 3)),
        (b"z.log", EntryKind.FILE | log | CONTINUED, 209, b"", (4, 5)),
    ]
    for number, (path, attribute, size, literal, chunks) in enumerate(entries):
        made.paths.append(path)
        made.attributes.append(attribute)
        made.sizes.append(size)
        made.counts.append(len(chunks))
        made.literals.append(literal)
        made.mtimes.append(0 if attribute == EntryKind.FOLDER else 10**18 * (number - 2))
        for index in chunks:
            made.lengths.append(len(PIECES[index]))
            made.ids.append(digest(PIECES[index]))
            made.places.append(Place(PACKS[index % 2], 16 + 1000 * index, 90 + index, 400, 7 * index, index % 3))
    return made


def last_leaf() -> Leaf:
    """The end of the file that the other leaf begins."""
    log = 3 << 6
    made = Leaf([b"z.log"], bytearray([EntryKind.FILE | log | CONTINUATION]), array("Q", [100]), array("I", [1]), [b""])
    made.mtimes.append(5 * 10**18)
    made.lengths.append(100)
    made.ids.append(digest(PIECES[0]))
    made.places.append(Place(PACKS[2], 16, 100, 100, 0, 0))
    return made


def golden_root(*, embedded: bool) -> Root:
    rows = []
    for made, place in ((golden_leaf(), Place(TREE_PACK, 16, 321, 876, 0, 1)), (last_leaf(), None)):
        where = None if embedded else place or Place(PACKS[0], 400, 99, 200, 0, 1)
        rows.append(LeafRow(leaf.encode(made)[0], len(made.paths), sum(made.sizes), made.paths[0], where))
    return Root(False, 6, sum(row.size for row in rows), tuple(rows), tuple(sorted(PACKS)))


def golden_version(tree: version.Tree, tree_packs: tuple[PackId, ...]) -> version.Version:
    return version.Version(
        "exp", "tag", 7, golden_root(embedded=True).manifest_id(), tree, tree_packs, 923, 6, 1234, TIME, "host", "ann",
        "0123456789abcdef", 6, True, False, ("größe", "not utf-8 \udcff"), ("fifo: is a FIFO",),
    )  # fmt: skip


def test_a_leaf():
    leaf_id, stored = leaf.encode(golden_leaf())
    expect(GOLDEN / "leaf", stored)
    assert leaf_id == LEAF_ID
    assert leaf.decode((GOLDEN / "leaf").read_bytes(), LEAF_ID) == golden_leaf()


def test_roots():
    for name, embedded in (("root of placed leaves", False), ("root of embedded leaves", True)):
        made = golden_root(embedded=embedded)
        expect(GOLDEN / name, root.encode(made))
        assert made.manifest_id() == MANIFEST_ID
        assert root.decode((GOLDEN / name).read_bytes(), MANIFEST_ID) == made


def test_the_root_of_an_empty_folder_has_the_id_of_the_documentation():
    made = Root(False, 0, 0, (), ())
    assert made.logical() == b"SCR1" + bytes(28)
    assert made.manifest_id() == digest(b"SCR1" + bytes(28)) == EMPTY_MANIFEST_ID


def test_a_version_with_an_embedded_tree():
    parts = [root.encode(golden_root(embedded=True)), *(leaf.encode(made)[1] for made in (golden_leaf(), last_leaf()))]
    path = GOLDEN / "version with an embedded tree.json"
    if may_make(path):
        tree = version.Tree(root.embed(parts[0], parts[1:]), sum(4 + len(part) for part in parts))
        path.write_bytes(version.encode(golden_version(tree, ())))
    found = version.decode(path.read_bytes())
    assert root.extract(found.tree.text, found.tree.plain_size) == parts
    assert found == golden_version(found.tree, ())
    assert version.encode(found) == path.read_bytes()


def test_a_version_whose_tree_lies_in_a_pack():
    made = golden_version(version.Tree(place=Place(TREE_PACK, 400, 200, 300, 0, 1)), (PACKS[0], TREE_PACK))
    expect(GOLDEN / "version with a placed tree.json", version.encode(made))
    assert version.decode((GOLDEN / "version with a placed tree.json").read_bytes()) == made
    assert base64.b64decode(json.loads(version.encode(made))["tree_packs"]) == PACKS[0] + TREE_PACK


def built_pack(kind: Kind) -> tuple[PackBuilder, list[tuple[bytes, Place]]]:
    """A raw frame, a zstd frame of three chunks, and a raw frame."""
    builder = PackBuilder(kind)
    builder.pack_id = PACKS[0]
    rows = [(digest(piece), len(piece)) for piece in PIECES]
    builder.add([PIECES[0]], Codec.RAW, rows[:1])
    builder.add([(GOLDEN / "three pieces.zst").read_bytes()], Codec.ZSTD, rows[1:4])
    builder.add([PIECES[4][:50], PIECES[4][50:]], Codec.RAW, rows[4:5])
    return builder, builder.chunks


def test_packs(tmp_path):
    path = GOLDEN / "three pieces.zst"
    if may_make(path):
        path.write_bytes(zstd.compress(b"".join(PIECES[1:4])))
    for name, kind in (("data pack", Kind.DATA), ("tree pack", Kind.TREE)):
        builder, chunks = built_pack(kind)
        made = b"".join(builder.finish())
        if may_make(GOLDEN / name):
            (GOLDEN / name).write_bytes(made)
        stored = (GOLDEN / name).read_bytes()
        assert made[: builder.size] == stored[: builder.size]
        assert footer(made) == footer(stored)
        with open_store(tmp_path / name, home=tmp_path / "home") as store:
            store.backend.create(keys.pack(PACKS[0]), [stored])
            assert read_footer(store, PACKS[0]) == chunks
            assert chunks[2][1] == Place(PACKS[0], 116, len(path.read_bytes()), 306, 101, Codec.ZSTD)


def footer(stored: bytes) -> Footer:
    offset, length = pack.footer_extent(stored[-52:], len(stored))
    return pack.decode_footer(stored[offset : offset + length], stored[-52:])


def test_a_footer_is_as_the_documentation_says():
    stored = (GOLDEN / "data pack").read_bytes()
    length, plain_length = (int.from_bytes(stored[at : at + 4], "little") for at in (-52, -48))
    frame = stored[-52 - length : -52]
    assert (stored[-44:-40], stored[-40:-8], stored[-8:]) == (bytes(4), digest(frame), b"SCASFOOT")
    sizes = (100, len((GOLDEN / "three pieces.zst").read_bytes()), 104)
    columns = (3, 5, *sizes, 100, 306, 104)
    chunks = (0, 1, 1, 1, 2, 100, 101, 102, 103, 104)
    numbers = [array("I", column).tobytes() for column in (columns, chunks)]
    ids = b"".join(digest(piece) for piece in PIECES[:5])
    assert zstd.decompress(frame, plain_length) == numbers[0] + bytes((0, 1, 0)) + numbers[1] + ids


def test_format_json():
    made = store_config.StoreConfig("0123456789abcdef" * 2)
    expect(GOLDEN / "format with tensors.json", store_config.encode(made))
    found = store_config.decode((GOLDEN / "format with tensors.json").read_bytes())
    assert found == made
    assert found.chunking == ChunkingParameters(65_536, 262_144, 1_048_576, 65_536, 524_288)
    assert found.inline_limit == 1024


def test_format_json_of_a_store_that_cuts_tensors_by_content():
    by_content = ChunkingParameters(65_536, 262_144, 1_048_576, 65_536, 0)
    made = store_config.StoreConfig("0123456789abcdef" * 2, by_content)
    expect(GOLDEN / "format.json", store_config.encode(made))
    assert store_config.decode((GOLDEN / "format.json").read_bytes()) == made


def test_hooks():
    rows = sorted((digest(piece), bytes(PACKS[number % 2])) for number, piece in enumerate(PIECES))
    expect(GOLDEN / "hooks", hooks.encode(reversed(rows)))
    assert hooks.decode((GOLDEN / "hooks").read_bytes()) == rows
    sampled = [first for first in range(256) if hooks.is_sampled(bytes((first, 255)))]
    assert sampled == [0, 0x40, 0x80, 0xC0]


def test_lists_of_packs():
    expect(GOLDEN / "condemned.json", collection.encode(PACKS))
    for name in ("condemned.json", "pin.json"):  # the second as it was before there were digests
        assert collection.decode((GOLDEN / name).read_bytes()) == set(PACKS)


def test_keys():
    name = PackId(bytes(range(16)))
    assert keys.pack(name) == "packs/00/000102030405060708090a0b0c0d0e0f"
    assert keys.pack(name, tree=True) == "trees/00/000102030405060708090a0b0c0d0e0f"
    assert keys.version("exp", "tag", 7) == "versions/exp/tag/9999999999999992"


OWNER = experiment.Owner("exp", "ann", "host", TIME)
REUSE = experiment.Reuse("other", "data", 3, "ab" * 32)
ARTIFACTS = (experiment.RunArtifact("w", "/home/ann/\udcff", True), experiment.RunArtifact("d", "/d", False, REUSE))
CREATED = experiment.Created("exp", 2, "ann", "host", TIME, ("python", "train.py"), "/home/ann", 60.0, ARTIFACTS)
GIT = experiment.Git("c0ffee", "main", True, "origin", "+a line\n", False)
STARTED = experiment.Started(TIME, "host", 42, "Linux", "/usr/bin/python3", "3.11.2", {"numpy": "2.3.5"}, GIT)
HEARTBEAT = experiment.Heartbeat(12, TIME)
ENDED = experiment.Ended(TIME, "failed", 3, ("the disk is full",))


def test_records_of_experiments_of_the_first_days():
    """Fields that came later have their defaults."""
    decoders = {
        "owner": (experiment.decode_owner, OWNER),
        "created": (experiment.decode_created, CREATED),
        "started": (experiment.decode_started, STARTED),
        "heartbeat": (experiment.decode_heartbeat, HEARTBEAT),
        "ended": (experiment.decode_ended, ENDED),
    }
    for name, (decode, record) in decoders.items():
        old = (GOLDEN / f"first {name}.json").read_bytes()
        assert decode(old) == record
        now = json.loads(experiment.encode(record))
        assert json.loads(old).items() <= {**now, **nested(now, json.loads(old))}.items()


def nested(now: dict[str, object], old: dict[str, object]) -> dict[str, object]:
    """Records inside a record, without the fields that they have now and had not then."""
    if "artifacts" not in old:
        return {}
    pairs = zip(now["artifacts"], old["artifacts"], strict=True)
    return {"artifacts": [{key: row[key] for key in then} for row, then in pairs]}
