"""Read the tree of a version: its root, and its leaves one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from studio_cas.codec import frames
from studio_cas.errors import CorruptError, NotFoundError, RefusedError
from studio_cas.formats import keys, leaf, root
from studio_cas.store import damage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from studio_cas.formats.leaf import Leaf, Place
    from studio_cas.formats.root import LeafRow, Root
    from studio_cas.formats.version import Version
    from studio_cas.ids import PackId
    from studio_cas.store.store import Store

T = TypeVar("T")
SIZE_LIMIT = 1 << 60


class TreeReader:
    """The tree of one version. Reads the root when made; raises CorruptError that names the version."""

    def __init__(self, store: Store, version: Version) -> None:
        self._store = store
        self._version = version
        self._embedded: dict[int, bytes] = {}
        with named(version):
            self.root = self._read_root()
            self._check_root()

    @property
    def named(self) -> frozenset[PackId]:
        """All packs that the version names, of data and of trees."""
        return frozenset((*self.root.packs, *self._version.tree_packs))

    def _check_root(self) -> None:
        """What record, root and leaves say of each other must agree: space is reserved by it, and names are chosen."""
        version, tree = self._version, self.root
        told = (version.size, version.files, version.is_file)
        if told != (tree.size, tree.files, tree.is_file) or tree.size != sum(row.size for row in tree.leaves):
            message = f"the version record and the root of manifest {version.manifest_id.hex()} do not agree"
            raise CorruptError(message)
        if tree.size >= SIZE_LIMIT:
            message = f"the manifest speaks of {tree.size:,} bytes, which no disk holds; nothing was written"
            raise RefusedError(message)
        if tree.is_file and (tree.files != 1 or not tree.leaves or not _is_name(tree.leaves[0].first_path)):
            message = "the manifest of a single file names no file, or one in another folder; nothing was written"
            raise RefusedError(message)

    def _read_root(self) -> Root:
        tree = self._version.tree
        if tree.place is not None:
            return self._decoded(tree.place, lambda plain: root.decode(plain, self._version.manifest_id))
        first, *leaves = root.extract(tree.text or "", tree.plain_size)
        decoded = root.decode(first, self._version.manifest_id)
        missing = [index for index, row in enumerate(decoded.leaves) if row.place is None]
        self._embedded = dict(zip(missing, leaves, strict=False))
        return decoded

    def _decoded(self, place: Place, decode: Callable[[bytes], T]) -> T:
        """What `decode` makes of the plain object at `place`. Raises CorruptError that names the pack."""
        if place.plain > leaf.OBJECT_LIMIT or place.stored > leaf.OBJECT_LIMIT:
            message = f"a tree object of {place.plain} bytes is beyond any limit"
            raise RefusedError(message)
        plain = self._plain(place)
        try:
            return decode(plain)
        except CorruptError as error:
            raise type(error)(_damaged(place, error)) from error

    def _plain(self, place: Place) -> bytes:
        try:
            stored = self._store.backend.read(keys.pack(place.pack, tree=True), place.offset, place.stored)
            return bytes(frames.decode(place.codec, memoryview(stored), place.plain))
        except NotFoundError as error:
            damage.examine(self._store, place.pack, tree=True)
            message = f"tree pack {place.pack.hex()} is missing from the store"
            raise CorruptError(message) from error
        except CorruptError as error:
            damage.examine(self._store, place.pack, tree=True)
            raise CorruptError(_damaged(place, error)) from error

    def leaf(self, index: int) -> Leaf:
        """Leaf `index`, verified."""
        with named(self._version):
            if index >= len(self.root.leaves):
                message = "a file of the manifest goes on where nothing is"
                raise RefusedError(message)
            found = self._leaf(index, self.root.leaves[index])
            if index == len(self.root.leaves) - 1 and found.attributes[-1] & leaf.CONTINUED:
                message = "the last file of the manifest has no end"
                raise RefusedError(message)
            if self.root.is_file:
                _check_single(found, self.root.leaves[0].first_path)
            return found

    def _leaf(self, index: int, row: LeafRow) -> Leaf:
        if row.place is not None:
            return self._decoded(row.place, lambda plain: _checked(row, plain))
        if index not in self._embedded:
            message = f"leaf {index} is missing from the version record"
            raise CorruptError(message)
        return _checked(row, self._embedded[index])

    def leaves(self) -> Iterator[tuple[LeafRow, Leaf]]:
        """All leaves in order of path."""
        for index, row in enumerate(self.root.leaves):
            yield row, self.leaf(index)


def _damaged(place: Place, error: CorruptError) -> str:
    return f"tree pack {place.pack.hex()} is damaged ({error})"


def _is_name(path: bytes) -> bool:
    return path not in {b"", b".", b".."} and b"/" not in path and b"\0" not in path


def _checked(row: LeafRow, plain: bytes) -> Leaf:
    """The leaf of `row`, which tells its size and its first path."""
    found = leaf.decode(plain, row.leaf_id)
    if (len(found.paths), sum(found.sizes), found.paths[:1]) != (row.entries, row.size, [row.first_path]):
        message = f"leaf {row.leaf_id.hex()} is not what the root says of it"
        raise CorruptError(message)
    return found


def _check_single(found: Leaf, path: bytes) -> None:
    """A single file is nothing else, and nothing beside it."""
    kinds = {attribute & leaf.KIND_MASK for attribute in found.attributes}
    if set(found.paths) != {path} or not kinds <= {leaf.EntryKind.FILE, leaf.EntryKind.EXECUTABLE}:
        message = "the manifest of a single file holds something else; nothing was written"
        raise RefusedError(message)


class named:  # noqa: N801 (reads as a verb: `with named(version):`)
    """Adds the version's name to errors about damage."""

    def __init__(self, version: Version) -> None:
        self._version = version

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, CorruptError) and self._version.name not in str(error):
            message = f"{self._version.name}: {error}"
            raise type(error)(message) from error
