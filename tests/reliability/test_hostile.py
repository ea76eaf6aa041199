"""Manifests that nobody's capture makes: whatever they say, nothing is written outside, and nothing wrong."""

import os
import resource
import shutil
import subprocess
import sys
import textwrap
from array import array
from contextlib import suppress

import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.reliability.folders import fill, names, snapshot
from tests.reliability.hostile import EXECUTABLE, FILE, FOLDER, LINK, chunk, entry, publish, stored, tree

from studio_cas.backends.memory import MemoryBackend
from studio_cas.codec.choose import Codec
from studio_cas.errors import ConflictError, CorruptError, RefusedError, StudioError
from studio_cas.formats import leaf as leaves
from studio_cas.formats.leaf import CONTINUATION, CONTINUED, Leaf, Place
from studio_cas.ids import PackId, digest
from studio_cas.store.store import open_store
from studio_cas.store.versions import resolve
from studio_cas.worktree import blobcache
from studio_cas.worktree.capture import capture
from studio_cas.worktree.diff import diff
from studio_cas.worktree.listing import entries, read_file
from studio_cas.worktree.materialise import materialise

X = (b"x", FILE, b"x")
UNSAFE = {
    "up": [(b"..", FOLDER), (b"../x", FILE, b"x")],
    "up in the middle": [(b"a", FOLDER), (b"a/..", FOLDER), (b"a/../../x", FILE, b"x")],
    "absolute": [(b"/x", FILE, b"x")],
    "this folder": [(b".", FOLDER), (b"./x", FILE, b"x")],
    "nothing": [(b"", FILE, b"x")],
    "a trailing slash": [(b"a/", FOLDER)],
    "an empty component": [(b"a", FOLDER), (b"a//x", FILE, b"x")],
    "twice": [X, X],
    "twice, as folder and link": [(b"d", FOLDER), (b"d", LINK, b"/etc"), (b"d/x", FILE, b"x")],
    "twice, as link and folder": [(b"d", LINK, b"e"), (b"d", FOLDER), (b"d/x", FILE, b"x")],
    "under a link": [(b"d", LINK, b"e"), (b"d/x", FILE, b"x")],
    "under a link that leaves": [(b"d", LINK, b".."), (b"d/x", FILE, b"x")],
    "under a file": [(b"d", FILE, b"d"), (b"d/x", FILE, b"x")],
    "under nothing": [(b"d/x", FILE, b"x")],
    "backwards": [(b"y", FILE, b"y"), X],
    "a later part of another": [(b"a", FILE, b"x"), (b"x", FILE | CONTINUATION, b"x")],
    "a later part of a folder": [(b"a", FOLDER), (b"a", FOLDER | CONTINUATION)],
    "a later part of a whole file": [X, (b"x", FILE | CONTINUATION, b"y")],
    "a first part of nothing more": [(b"x", FILE | CONTINUED, b"x")],
    "a first part of something else": [(b"x", FILE | CONTINUED, b"x"), (b"y", FILE, b"y")],
    "an unknown kind": [(b"x", 9, b"x")],
    "a size that is too large": [(b"x", FILE, b"x", 2)],
    "a size that is too small": [(b"x", FILE, b"xx", 1)],
    "a size beyond any disk": [(b"x", FILE, b"x", 2**63)],
    "the largest size": [(b"x", FILE, b"x", 2**64 - 1)],
    "a link that leaves": [(b"l", LINK, b"../x")],
    "a link to the root": [(b"l", LINK, b"/")],
    "a link through a link": [(b"d", LINK, b"."), (b"l", LINK, b"d/../x")],
    "a link of many steps": [(b"a", FOLDER), (b"a/l", LINK, b"../../x")],
    "a link below that leaves": [(b"a", FOLDER), (b"a/b", FOLDER), (b"a/b/l", LINK, b"../../../x")],
    "a link with nothing in it": [(b"l", LINK, b"")],
    "a link with a NUL": [(b"l", LINK, b"a\0b")],
    "a link that is too long": [(b"l", LINK, b"a" * 5000)],
    "a name that is too long": [(b"a" * 256, FILE, b"x")],
}


@pytest.fixture
def store(tmp_path):
    with open_store(MemoryBackend(), home=tmp_path / "home") as opened:
        yield opened


def refused(store, version, out, *errors):
    """Every way to look at the version refuses, or shows something harmless; nothing is written."""
    (out / "there").mkdir()
    (out / "there" / "mine").write_bytes(b"mine")
    before = snapshot(out)
    for dest, options in [
        ("here", {}),
        ("here", {"exclude": ["nothing"]}),
        ("there", {"force": True}),
        ("there", {}),
    ]:
        with pytest.raises(StudioError) as caught:
            materialise(store, version, out / dest, **options)
        assert isinstance(caught.value, (*(errors or (CorruptError,)), ConflictError)), caught.value
        assert snapshot(out) == before, (dest, options)
    with pytest.raises(errors or CorruptError):
        blobcache.ensure(store, version)
    assert blobcache.list_cached(store.home) == []
    for look in (lambda: list(entries(store, version)), lambda: list(diff(store, version, version))):
        with suppress(StudioError):
            look()


@pytest.mark.parametrize("case", UNSAFE)
def test_an_unsafe_manifest_is_refused(store, out, case):
    from studio_cas.errors import LocalIOError

    version = publish(store, tree(*UNSAFE[case]))
    refused(store, version, out, CorruptError, *([LocalIOError] if "too long" in case or "link with" in case else []))


@pytest.mark.parametrize("case", UNSAFE)
def test_an_unsafe_manifest_in_two_leaves_is_refused(store, out, case):
    from studio_cas.errors import LocalIOError

    rows = UNSAFE[case]
    if len(rows) < 2:
        rows = [(b"+", FILE, b"+"), *rows]
    version = publish(store, tree(*rows[:-1]), tree(rows[-1]))
    refused(store, version, out, CorruptError, *([LocalIOError] if "too long" in case or "link with" in case else []))


@pytest.mark.parametrize("case", ["twice, as folder and link", "under a link", "up", "a link that leaves"])
def test_force_follows_no_link_of_the_destination(store, out, case):
    (out / "outside").mkdir()
    (out / "there").mkdir()
    (out / "there" / "d").symlink_to("../outside")
    (out / "there" / "l").symlink_to("../outside")
    version = publish(store, tree(*UNSAFE[case]))
    with pytest.raises(StudioError):
        materialise(store, version, out / "there", force=True)
    assert names(out / "outside") == []


def test_a_link_of_the_user_where_a_folder_should_be_is_replaced_not_followed(store, out):
    (out / "outside").mkdir()
    (out / "there").mkdir()
    (out / "there" / "d").symlink_to("../outside")
    version = publish(store, tree((b"d", FOLDER), (b"d/x", FILE, b"x")))
    with pytest.raises(ConflictError):
        materialise(store, version, out / "there")
    materialise(store, version, out / "there", force=True)
    assert names(out / "outside") == []
    assert snapshot(out / "there") == {b"d": ("folder",), b"d/x": ("file", False, b"x")}


@pytest.mark.parametrize("name", [b"a/b", b"..", b".", b"", b"/etc/x", b"../x"])
def test_a_single_file_is_one_name(store, out, name):
    version = publish(store, tree((name, FILE, b"x")), is_file=True)
    for dest in (out, out / "x"):
        with pytest.raises(CorruptError):
            materialise(store, version, dest)
    assert names(out) == []


@pytest.mark.parametrize("made", [tree(), tree(X, (b"y", FILE, b"y")), tree((b"d", FOLDER)), tree((b"l", LINK, b"/x"))])
def test_a_single_file_is_one_file(store, out, made):
    version = publish(store, made, is_file=True)
    for dest in (out, out / "x"):
        with pytest.raises(CorruptError):
            materialise(store, version, dest)
    with pytest.raises(CorruptError):
        list(read_file(store, version, b""))
    assert names(out) == []


def lying(place, **lies):
    return place._replace(**lies)


FRAME_LIES = {
    "another pack": {"pack": PackId(bytes(16))},
    "before the frames": {"offset": 0},
    "in the middle": {"offset": 17},
    "behind the end": {"offset": 2**31},
    "the largest offset": {"offset": 2**32 - 1},
    "nothing": {"stored": 0},
    "too much stored": {"stored": 2**32 - 1},
    "a little more": {"stored": 5001},
    "no plain": {"plain": 0},
    "more plain": {"plain": 5001},
    "a bomb": {"plain": 2**32 - 1},
    "inside": {"inner": 1},
    "far inside": {"inner": 2**32 - 1},
    "another codec": {"codec": 1},
    "planes": {"codec": 2},
    "the reserved codec": {"codec": 3},
    "no codec": {"codec": 255},
}


@pytest.mark.parametrize("case", FRAME_LIES)
def test_a_place_that_lies_is_refused(store, out, case):
    data = os.urandom(5000)
    (place,) = stored(store, data)
    made = entry(Leaf(), b"x", FILE, size=5000)
    version = publish(store, chunk(made, lying(place, **FRAME_LIES[case]), 5000, digest(data)))
    refused(store, version, out)
    with pytest.raises(CorruptError):
        list(read_file(store, version, b"x"))


@pytest.mark.parametrize("case", ["two files", "one file"])
def test_wrong_bytes_are_never_written(store, out, case):
    right, wrong = os.urandom(5000), os.urandom(5000)
    places = stored(store, right, wrong)
    made = entry(Leaf(), b"x", FILE, size=5000 if case == "two files" else 10_000)
    chunk(made, places[0], 5000, digest(right))
    if case == "two files":
        entry(made, b"y", FILE, size=5000)
    chunk(made, places[1], 5000, digest(right + b"!"))
    refused(store, publish(store, made), out)


@pytest.mark.parametrize("length", [0, 1, 4999, 5001, 2**24, 2**32 - 1])
def test_a_chunk_of_another_length_is_refused(store, out, length):
    data = os.urandom(5000)
    (place,) = stored(store, data)
    version = publish(store, chunk(entry(Leaf(), b"x", FILE, size=length), place, length, digest(data)))
    refused(store, version, out)


@pytest.mark.parametrize("claimed", ["its size", "the frame's"])
def test_a_bomb_in_a_data_frame_is_refused(store, out, claimed):
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    (place,) = stored(store, bomb, codec=Codec.ZSTD)
    plain = 1 << 28 if claimed == "its size" else 1 << 20
    made = entry(Leaf(), b"x", FILE, size=1 << 20)
    version = publish(store, chunk(made, lying(place, plain=plain), 1 << 20, digest(bytes(1 << 20))))
    refused(store, version, out)


def test_a_frame_without_its_size_is_refused(store, out):
    compressor = zstandard.ZstdCompressor(write_content_size=False)
    (place,) = stored(store, compressor.compress(bytes(5000)), codec=Codec.ZSTD)
    made = chunk(entry(Leaf(), b"x", FILE, size=5000), lying(place, plain=5000), 5000, digest(bytes(5000)))
    refused(store, publish(store, made), out)


@pytest.mark.parametrize(
    "lies",
    [
        {"size": 0},
        {"size": 2**63},
        {"files": 7},
        {"manifest_id": type(digest(b"")).__call__(32)},
    ],
)
def test_a_record_that_does_not_agree_with_its_root_is_refused(store, out, lies):
    if "manifest_id" in lies:
        from studio_cas.ids import ManifestId

        lies = {"manifest_id": ManifestId(bytes(32))}
    refused(store, publish(store, tree(X), **lies), out)


def test_a_leaf_that_does_not_agree_with_its_root_is_refused(store, out, monkeypatch):
    version = publish(store, tree(X), tree((b"y", FILE, b"y")))
    from studio_cas.formats.version import Tree

    text = version.tree
    other = publish_tree(tree((b"w", FILE, b"w")), tree((b"y", FILE, b"y")))
    assert text != other
    mixed = Tree(other.text, other.plain_size)
    object.__setattr__(version, "tree", mixed)
    with pytest.raises(CorruptError):
        materialise(store, version, out / "here")
    assert names(out) == []


def publish_tree(*made):
    with open_store(MemoryBackend(), home=None) as other:
        return publish(other, *made).tree


def in_little_memory(tmp_path, script):
    """Run a script that may use 600 MB of address space beyond what Python and its libraries take."""

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (1200 << 20, 1200 << 20))

    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(script))
    environment = os.environ | {"PYTHONPATH": ":".join(p for p in sys.path if p), "HOME": str(tmp_path)}
    return subprocess.run(
        [sys.executable, path], env=environment, capture_output=True, text=True, check=False, preexec_fn=limit
    )


@pytest.mark.parametrize("what", ["embedded", "entries", "chunks", "root", "record", "placed"])
def test_a_bomb_in_a_tree_costs_no_memory(tmp_path, what):
    told = in_little_memory(
        tmp_path,
        f"""
        import base64, resource
        from array import array
        from pathlib import Path
        import zstandard
        from studio_cas.backends.memory import MemoryBackend
        from studio_cas.errors import CorruptError
        from studio_cas.formats import leaf as leaves, root as roots, keys
        from studio_cas.formats.leaf import Leaf, Place
        from studio_cas.formats.pack import Kind
        from studio_cas.formats.root import LeafRow, Root
        from studio_cas.formats.version import Tree
        from studio_cas.ids import LeafId, PackId, digest, ManifestId
        from studio_cas.store.packing import PackStream
        from studio_cas.store.store import open_store
        from studio_cas.store.versions import resolve
        from studio_cas.worktree.materialise import materialise
        from tests.reliability.hostile import *
        store, what = open_store(MemoryBackend(), home=Path({str(tmp_path / "home")!r})), {what!r}

        def bomb(size):
            packer = zstandard.ZstdCompressor().compressobj(size=size)
            return b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()

        if what == "embedded":
            publish(store, tree((b"x", FILE, b"x")), tree=Tree(base64.b64encode(bomb(1 << 30)).decode(), 1 << 30))
        elif what == "record":
            store.backend.create(keys.version("exp", "tag", 1), [b'{{"format": 1, "x": "', bytes(200 << 20), b'"}}'])
        elif what == "placed":
            stream = PackStream(store, Kind.TREE, learn=False)
            (place,) = stream.add([bomb(250 << 20)], 1, [(bytes(32), 250 << 20)])
            stream.finish()
            publish(store, tree((b"x", FILE, b"x")), tree=Tree(place=place))
        elif what == "root":
            count = 600_000
            rows = tuple(LeafRow(LeafId(bytes(32)), 1, 0, b"x", None) for _ in range(count))
            root = Root(False, count, 0, rows, ())
            del rows
            plain = roots.encode(root)
            stream = PackStream(store, Kind.TREE, learn=False)
            (place,) = stream.add([zstandard.compress(plain)], 1, [(bytes(32), len(plain))])
            stream.finish()
            publish(store, tree((b"x", FILE, b"x")), tree=Tree(place=place), files=count, size=0,
                    manifest_id=root.manifest_id())
            del root, plain
        else:
            count = 2_000_000
            leaf = Leaf()
            if what == "entries":
                leaf.paths = [b"x"] * count
                leaf.attributes = bytearray(b"\\1" * count)
                leaf.sizes, leaf.counts = array("Q", bytes(8 * count)), array("I", bytes(4 * count))
                leaf.literals, leaf.mtimes = [b""] * count, array("q", bytes(8 * count))
            else:
                entry(leaf, b"x", FILE, size=0)
                leaf.counts[0] = count
                leaf.lengths = array("I", bytes(4 * count))
                leaf.ids, leaf.places = [bytes(32)] * count, [Place(PackId(bytes(16)), 16, 0, 0, 0, 0)] * count
            leaf_id, plain = leaves.encode(leaf)
            entries = len(leaf.paths)
            del leaf
            stream = PackStream(store, Kind.TREE, learn=False)
            (place,) = stream.add([zstandard.compress(plain)], 1, [(bytes(32), len(plain))])
            stream.finish()
            del plain
            root = Root(False, entries, 0, (LeafRow(leaf_id, entries, 0, b"x", place),), ())
            encoded = roots.encode(root)
            publish(store, tree((b"x", FILE, b"x")), tree=Tree(roots.embed(encoded, []), 4 + len(encoded)),
                    files=entries, size=0, manifest_id=root.manifest_id())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            materialise(store, resolve(store, "exp/tag"), Path({str(tmp_path / "here")!r}))
        except CorruptError as error:
            print(type(error).__name__, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before >> 10)
        """,
    )
    kind, _, grown = told.stdout.partition(" ")
    assert kind in ("RefusedError", "CorruptError"), told.stderr[-2000:]
    assert int(grown) < 300
    assert not (tmp_path / "here").exists()


PATHS = st.sampled_from([b"a", b"a/b", b"a/b/c", b"b", b"c", b"..", b"a/..", b"a-", b""])
KINDS = st.sampled_from([FOLDER, FILE, EXECUTABLE, LINK, 4, FILE | CONTINUED, FILE | CONTINUATION, FOLDER | CONTINUED])
CONTENT = st.sampled_from([b"", b"a", b"b", b"..", b"../x", b"a/../..", b"/", b".", b"a\0"])
ENTRIES = st.lists(st.tuples(PATHS, KINDS, CONTENT, st.sampled_from([None, None, None, 0, 1, 2**63])), max_size=4)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ENTRIES, min_size=1, max_size=3), st.booleans(), st.sampled_from(["refuse", "skip"]))
@example(made=[[(b"a", LINK, b"..", None)]], is_file=False, links="refuse")
def test_whatever_a_manifest_says_it_is_pulled_or_refused(tmp_path, made, is_file, links):
    out = tmp_path / "out"
    shutil.rmtree(tmp_path, ignore_errors=True)
    (out / "there").mkdir(parents=True)
    (out / "there" / "a").symlink_to("..")
    (out / "there" / "b").write_bytes(b"mine")
    before = snapshot(out)
    with open_store(MemoryBackend(), home=tmp_path / "home") as store:
        version = publish(store, *(tree(*rows) for rows in made), is_file=is_file)
        for dest, force in (("here", False), ("there", True)):
            try:
                materialise(store, version, out / dest, links=links, force=force)
            except StudioError:
                assert snapshot(out) == before
            else:
                left = snapshot(out)
                assert {path.split(b"/")[0] for path in left} <= {b"here", b"there"}
                for path, (kind, *what) in left.items():
                    ours = before.get(path) == (kind, *what)  # a link that was there, and that the manifest has as well
                    if kind == "link" and path.startswith(dest.encode() + b"/") and not ours:
                        above = path.rpartition(b"/")[0]
                        leads = os.path.normpath(above + b"/" + what[0])
                        assert leads.split(b"/")[0] == dest.encode()
                shutil.rmtree(out / "here", ignore_errors=True)
                shutil.rmtree(out / "there")
                (out / "there").mkdir()
                before = snapshot(out)
        for look in (entries, lambda *a: diff(*a, version)):
            try:
                list(look(store, version))
            except StudioError:
                continue


def test_what_was_refused_leaves_no_trace_in_the_state_of_a_folder(store, work, out):
    fill(work)
    good = capture(store, work, "good", "tag").version
    materialise(store, good, out / "here")
    version = publish(store, tree((b"a", FOLDER), (b"a/l", LINK, b"../../x")))
    with pytest.raises(RefusedError):
        materialise(store, version, out / "here", force=True)
    assert snapshot(out / "here") == snapshot(work)
    assert materialise(store, good, out / "here").files_written == 0
    assert resolve(store, "exp/tag").name == version.name


def test_counts_that_lie_are_refused_before_anything_is_reserved():
    logical = leaves.COUNTS.pack(leaves.MAGIC, 2**32 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    data = leaves.U32.pack(len(logical)) + logical
    with pytest.raises(CorruptError):
        leaves.decode(data, leaves.LeafId(digest(logical)))
    assert array("I").itemsize == 4
    assert Place(PackId(bytes(16)), 0, 0, 0, 0, 0).codec == 0
