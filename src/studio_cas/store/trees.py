"""Read the tree of a version: its root, and its leaves one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio_cas.codec import frames
from studio_cas.errors import CorruptError
from studio_cas.formats import keys, leaf, root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from studio_cas.formats.leaf import Leaf, Place
    from studio_cas.formats.root import LeafRow, Root
    from studio_cas.formats.version import Version
    from studio_cas.store.store import Store


class TreeReader:
    """The tree of one version. Reads the root when made; raises CorruptError that names the version."""

    def __init__(self, store: Store, version: Version) -> None:
        self._store = store
        self._version = version
        self._embedded: dict[int, bytes] = {}
        self.root = self._read_root()

    def _read_root(self) -> Root:
        tree = self._version.tree
        if tree.place is not None:
            return root.decode(self._object(tree.place), self._version.manifest_id)
        with named(self._version):
            first, *leaves = root.extract(tree.text or "", tree.plain_size)
            decoded = root.decode(first, self._version.manifest_id)
        missing = [index for index, row in enumerate(decoded.leaves) if row.place is None]
        self._embedded = dict(zip(missing, leaves, strict=False))
        return decoded

    def _object(self, place: Place) -> bytes:
        if place.plain > leaf.OBJECT_LIMIT or place.stored > leaf.OBJECT_LIMIT:
            message = f"{self._version.name}: a tree object of {place.plain} bytes is beyond any limit"
            raise CorruptError(message)
        key = keys.pack(place.pack, tree=True)
        with named(self._version):
            stored = self._store.backend.read(key, place.offset, place.stored)
            return bytes(frames.decode(place.codec, memoryview(stored), place.plain))

    def stored_leaf(self, index: int) -> bytes:
        """The plain object of leaf `index`."""
        place = self.root.leaves[index].place
        if place is not None:
            return self._object(place)
        try:
            return self._embedded[index]
        except KeyError:
            message = f"{self._version.name}: leaf {index} is missing from the version record"
            raise CorruptError(message) from None

    def leaf(self, index: int) -> Leaf:
        """Leaf `index`, verified."""
        return self.decode(index, self.stored_leaf(index))

    def decode(self, index: int, plain: bytes) -> Leaf:
        """Leaf `index` from its plain object."""
        with named(self._version):
            return leaf.decode(plain, self.root.leaves[index].leaf_id)

    def leaves(self) -> Iterator[tuple[LeafRow, Leaf]]:
        """All leaves in order of path."""
        for index, row in enumerate(self.root.leaves):
            yield row, self.leaf(index)


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
