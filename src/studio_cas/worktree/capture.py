"""Capture: a folder or a file becomes a version.

scan → stat cache (unchanged: reuse the entry) → cut → id → known? → codec → pack → create packs → create trees →
create version
"""

from __future__ import annotations

import getpass
import os
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from studio_cas.errors import CorruptError, LocalIOError, StoreUnavailableError, TransientError
from studio_cas.formats.keys import check_name
from studio_cas.formats.version import Version
from studio_cas.progress import Silent
from studio_cas.store import damage, guard, signing, versions
from studio_cas.store.guard import CondemnedError
from studio_cas.store.ingest import Ingest
from studio_cas.worktree import statcache, steady
from studio_cas.worktree.ignore import matcher
from studio_cas.worktree.merge import Merge
from studio_cas.worktree.reading import FileReader
from studio_cas.worktree.remembered import Cursor, Parent
from studio_cas.worktree.repack import DamagedError
from studio_cas.worktree.scan import scan_columns
from studio_cas.worktree.source import Rows, open_root, pruned, without_keys
from studio_cas.worktree.state_writer import StateWriter
from studio_cas.worktree.tree_writer import TreeWriter
from studio_cas.worktree.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from studio_cas.formats.leaf import Place
    from studio_cas.formats.root import Root
    from studio_cas.ids import LeafId, ManifestId, PackId
    from studio_cas.progress import Progress
    from studio_cas.store.store import Store
    from studio_cas.worktree.scan import Columns

COMMIT_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class CaptureResult:
    """What a capture did. `created` is False where the folder equals the latest version: nothing was made.

    `stale`: paths that were being written, of which the version keeps the earlier state, or nothing where there is
    none.
    `skipped`: "path: why" for what could not be read or is no file. Sizes in bytes.
    `damaged`: packs of earlier versions that were found damaged, in a sentence each; what lay in them was read again.
    """

    version: Version
    created: bool
    files: int
    bytes_read: int
    bytes_stored: int
    new_chunks: int
    stale: tuple[str, ...]
    skipped: tuple[str, ...]
    damaged: tuple[str, ...] = ()


def capture(  # noqa: PLR0913 (each says something else of one capture)
    store: Store,
    root: Path,
    experiment: str,
    tag: str,
    *,
    final: bool = False,
    exclude: Sequence[Path] = (),
    ignore: Sequence[str] | None = (),
    progress: Progress | None = None,
    user: str | None = None,
    compression: bool = True,
    moment: float | None = None,
) -> CaptureResult:
    """Make the next version of `experiment/tag` from the folder or file `root`, unless it equals the latest.

    `exclude` are folders to leave out, wherever they lie in it; `ignore` are gitignore patterns, beside those of the
    folder itself, and None leaves nothing out. `moment`, in seconds since the epoch, is the time that the version gets,
    where that is not now.
    Raises NotFoundError (no such path), UsageError (bad name), LocalIOError, and what the store raises.
    """
    check_name(experiment, "an experiment")
    check_name(tag, "an artifact")
    root = Path(os.path.abspath(root))  # noqa: PTH100 (resolve() would follow a link that is itself captured)
    without: frozenset[PackId] = damage.known(store)
    damaged: tuple[str, ...] = ()
    alone = False  # the latest version cannot be read: this one takes nothing from it
    for _ in range(COMMIT_ATTEMPTS):
        try:
            latest, last = versions.newest(store, experiment, tag)
        except CorruptError as error:
            latest, alone, damaged = None, True, (*damaged, str(error))
            last = versions.latest_number(store, experiment, tag)
        parent = Parent(store, latest, without, readable=not alone, last=last)
        with closing(
            _Capture(store, root, experiment, tag, progress or Silent(), parent, without, compression=compression)
        ) as work:
            try:
                return work.run(exclude, ignore, damaged, user=user or _user(), final=final, moment=moment)
            except DamagedError as error:
                damaged = tuple(error.packs.values())
                without |= error.packs.keys()
            except CorruptError as error:
                if alone or parent.version is None:
                    raise
                alone, damaged = True, (*damaged, str(error))
                statcache.path_of(store, root).unlink(missing_ok=True)  # its leaves may lie in what is damaged
            except CondemnedError as error:
                without |= error.packs
                store.catalog.forget(without)
                statcache.path_of(store, root).unlink(missing_ok=True)
            except OSError as error:
                message = f"{root} could not be captured: {error}"
                raise LocalIOError(message) from error
    message = f"{root}: the collector removed packs while they were used, {COMMIT_ATTEMPTS} times: try again"
    raise TransientError(message)


def _user() -> str:
    """Who runs this: a name, or a number where the system knows no name for it, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


class Made(NamedTuple):
    """What a version says of how it was made: `began` and the `told` time in seconds since the epoch."""

    began: float
    told: float
    user: str
    final: bool
    stale: tuple[str, ...]
    skipped: tuple[str, ...]


class _Capture:
    """One capture while it runs; it uses no pack of `without`."""

    def __init__(
        self,
        store: Store,
        root: Path,
        experiment: str,
        tag: str,
        progress: Progress,
        parent: Parent,
        without: frozenset[PackId],
        *,
        compression: bool,
    ) -> None:
        self._store = store
        self._root = root
        self._experiment = experiment
        self._tag = tag
        self._progress = progress
        self._without = without
        self._parent = parent
        state_path = statcache.path_of(store, root)
        self._old = statcache.StateReader(state_path)
        self._state = StateWriter(state_path, self._old)
        self._cursor = Cursor(self._old, without)
        self._ingest = Ingest(store, self._parent.owns, without, compression=compression)
        self._tree = TreeWriter(self._ingest, self._state, _known_leaves(self._cursor, self._parent))
        self._merge = Merge(store, self._ingest, self._tree, self._state)
        self._folder = -1
        self._closing = ExitStack()

    def run(
        self,
        exclude: Sequence[Path],
        ignore: Sequence[str] | None,
        damaged: tuple[str, ...],
        *,
        user: str,
        final: bool,
        moment: float | None,
    ) -> CaptureResult:
        """Scan, store, and create the version; `damaged` says of which packs an earlier attempt found that they are.

        Raises CondemnedError, DamagedError: begin anew.
        """
        began = time.time()
        self._folder, single = open_root(self._root)
        self._progress.start(f"capture {self._experiment}/{self._tag}")
        reader = FileReader(self._folder, self._store.config, self._ingest, self._progress.advance)
        self._closing.callback(reader.close)
        walk = self._new_walk(reader, alone=single is not None)
        if single is not None:
            rows: Iterator[Columns] = iter([single])
        else:
            ignored, left_out = matcher(self._root, ignore), pruned(self._store, self._root, exclude)
            rows = scan_columns(self._folder, ignored, left_out, walk.skip)
        secret = signing.key_files(self._store)
        walk.run(Rows(without_keys(rows, secret, walk.skip) if secret else rows))
        stale, skipped = tuple(walk.stale), tuple(sorted(walk.skipped))
        if self._parent.version is None:  # there is nothing to merge, so nothing more comes
            self._ingest.flush()
            self._ingest.data.send()
        root = self._tree.finish(is_file=single is not None)
        if single is not None and not root.files and not root.leaves:
            reasons = [f"it {steady.STILL_WRITTEN}" for _ in stale]
            message = f"{self._root} could not be captured: {'; '.join([*reasons, *skipped]) or 'it went away'}"
            raise LocalIOError(message)
        manifest_id = root.manifest_id()
        if (latest := self._unchanged(root, manifest_id)) is not None:
            self._ingest.finish()
            version, created = latest, False
        else:
            if not final and not damaged:  # it may have to be done in a moment; one damaged pack a capture is enough
                root = self._merge.run(f"{self._experiment}/{self._tag}", root, began)
            told = began if moment is None else moment
            made = Made(began, told, user, final, stale, skipped)
            version, created = self._commit(root, manifest_id, made), True
        self._merge.state.commit()
        return CaptureResult(
            version,
            created,
            root.files,
            reader.bytes_read + reader.batches.bytes_read,
            self._ingest.data.bytes + self._ingest.trees.bytes,
            self._ingest.new_chunks,
            stale,
            skipped,
            damaged,
        )

    def _new_walk(self, reader: FileReader, *, alone: bool) -> Walk:
        return Walk(
            self._folder,
            reader,
            self._cursor,
            self._old,
            self._parent,
            self._tree,
            self._progress,
            alone=alone,
        )

    def _unchanged(self, root: Root, manifest_id: ManifestId) -> Version | None:
        """The latest version, where it is this very tree, and its packs are sound and not about to be deleted."""
        latest = self._parent.version
        if not self._parent.readable or latest is None:
            return None
        if latest.manifest_id != manifest_id or latest.is_file != root.is_file:
            return None
        if self._without and not self._without.isdisjoint(self._parent.named):
            return None
        try:
            guard.check_version(self._store, latest, lambda: self._parent.named)
        except StoreUnavailableError:  # nobody can say: a version that waits is checked when it goes up
            return None
        return latest

    def _commit(self, root: Root, manifest_id: ManifestId, made: Made) -> Version:
        tree = self._merge.tree.store(root)
        self._ingest.finish()
        parent = self._parent.version
        tree_packs = {row.place.pack for row in root.leaves if row.place}
        if tree.place:
            tree_packs.add(tree.place.pack)
        writer = os.urandom(8).hex()

        def record(number: int) -> Version:
            return Version(
                experiment=self._experiment,
                tag=self._tag,
                number=number,
                manifest_id=manifest_id,
                tree=tree,
                tree_packs=tuple(sorted(tree_packs)),
                size=root.size,
                files=root.files,
                stored=self._ingest.data.bytes + self._ingest.trees.bytes,
                time=made.told,
                host=os.uname().nodename,
                user=made.user,
                writer=writer,
                parent=parent.number if parent else None,
                final=made.final,
                is_file=root.is_file,
                stale=made.stale,
                skipped=made.skipped,
            )

        number = self._parent.last + 1
        packs = {*root.packs, *tree_packs}
        earlier = {*self._parent.packs, *(parent.tree_packs if parent else ())} - self._without
        own = {*self._ingest.data.packs, *self._ingest.trees.packs}
        adopted = packs - earlier - own
        if own:
            self._store.catalog.add_made(f"{self._experiment}/{self._tag}", own, made.began)
        return guard.commit_version(
            self._store, packs, frozenset(adopted), lambda: versions.create(self._store, number, record), newest=True
        )

    def close(self) -> None:
        """Release files and threads; an unfinished state is dropped."""
        self._progress.finish()
        self._ingest.close()
        self._closing.close()
        self._old.close()
        self._merge.close()
        self._state.abandon()
        if self._folder >= 0:
            os.close(self._folder)


def _known_leaves(cursor: Cursor, parent: Parent) -> Callable[[LeafId], Place | None]:
    """Says where a leaf lies that is in the store; a method would make a cycle that holds the memory of a capture."""
    return lambda leaf_id: cursor.places.get(leaf_id) or parent.places.get(leaf_id)
