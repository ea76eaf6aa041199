"""The local catalog: which chunks are known to be in the store, and where. SQLite, rebuilt from nothing at any time.

It may know less than the store holds. It is shared by the processes of one machine; a damaged file is thrown away.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING

from studio_cas.formats.leaf import Place
from studio_cas.ids import PackId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS packs (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS chunks (
    id BLOB PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL, stored INTEGER NOT NULL,
    plain INTEGER NOT NULL, inner INTEGER NOT NULL, codec INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hooks (id BLOB NOT NULL, pack BLOB NOT NULL, PRIMARY KEY (id, pack)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lists (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS condemned (pack BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS acknowledged (key TEXT PRIMARY KEY, writer TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS made (pack BLOB PRIMARY KEY, artifact TEXT NOT NULL, time REAL NOT NULL) WITHOUT ROWID;
"""
BUSY_SECONDS = 30
QUERY_SIZE = 500


class Catalog:
    """Safe to use from several threads. Errors of SQLite make it forget, never fail; without a disk it is in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection = self._open()
        self._empty = self._is_empty()

    def _open(self) -> sqlite3.Connection:
        for _ in range(2):
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                return self._connect(str(self._path))
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    break
                self._throw_away()
            except OSError:
                break
        return self._connect(":memory:")

    def _throw_away(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _connect(self, where: str) -> sqlite3.Connection:
        connection = sqlite3.connect(where, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.executescript(SCHEMA)
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection

    def _is_empty(self) -> bool:
        with self._forgiving():
            return self._connection.execute("SELECT 1 FROM chunks LIMIT 1").fetchone() is None
        return True

    def _forgiving(self) -> _Forgiving:
        """What fails inside finds or learns nothing."""
        return _Forgiving(self._lock, self._replace_damaged)

    def _replace_damaged(self) -> None:
        """Go on in memory; there will be a new file when the store is opened next."""
        self._throw_away()
        self._connection.close()
        self._connection = self._connect(":memory:")

    def lookup(self, ids: Sequence[bytes]) -> dict[bytes, Place]:
        """The places of those of `ids` that are known."""
        found: dict[bytes, Place] = {}
        if self._empty:
            return found
        with self._forgiving():
            for start in range(0, len(ids), QUERY_SIZE):
                part = ids[start : start + QUERY_SIZE]
                marks = ",".join("?" * len(part))
                rows = self._connection.execute(
                    "SELECT c.id, p.id, c.offset, c.stored, c.plain, c.inner, c.codec "  # noqa: S608 (question marks only)
                    f"FROM chunks c JOIN packs p ON p.number = c.pack WHERE c.id IN ({marks})",
                    part,
                )
                for row in rows:
                    found[row[0]] = Place(PackId(row[1]), *row[2:])
        return found

    def add(self, pack: PackId, chunks: Iterable[tuple[bytes, Place]]) -> None:
        """Learn that `chunks` lie in `pack`, unless it is condemned; the newest place of a chunk wins."""
        with self._forgiving(), self._transaction():
            if self._connection.execute("SELECT 1 FROM condemned WHERE pack = ?", (bytes(pack),)).fetchone():
                return
            self._connection.execute("INSERT OR IGNORE INTO packs (id) VALUES (?)", (bytes(pack),))
            (number,) = self._connection.execute("SELECT number FROM packs WHERE id = ?", (bytes(pack),)).fetchone()
            self._connection.executemany(
                "INSERT OR REPLACE INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?)",
                ((chunk_id, number, *place[1:]) for chunk_id, place in chunks),
            )
            self._empty = False

    def forget(self, packs: Iterable[PackId]) -> None:
        """Forget all chunks of `packs`: they are gone, or about to be."""
        with self._forgiving(), self._transaction():
            for pack in packs:
                row = self._connection.execute("SELECT number FROM packs WHERE id = ?", (bytes(pack),)).fetchone()
                self._connection.execute("DELETE FROM made WHERE pack = ?", (bytes(pack),))
                if row:
                    self._connection.execute("DELETE FROM chunks WHERE pack = ?", row)
                    self._connection.execute("DELETE FROM packs WHERE number = ?", row)

    def knows_pack(self, pack: PackId) -> bool:
        """Whether chunks of `pack` were learnt."""
        with self._forgiving():
            query = "SELECT 1 FROM packs WHERE id = ?"
            return self._connection.execute(query, (bytes(pack),)).fetchone() is not None
        return False

    def add_made(self, artifact: str, packs: Iterable[PackId], time: float) -> None:
        """Learn that this machine made `packs` for `artifact`, at `time` (seconds since the epoch)."""
        with self._forgiving(), self._transaction():
            rows = ((bytes(pack), artifact, time) for pack in packs)
            self._connection.executemany("INSERT OR IGNORE INTO made VALUES (?, ?, ?)", rows)

    def made(self, artifact: str, packs: Iterable[PackId]) -> dict[PackId, float]:
        """When those of `packs` were made that this machine made for `artifact`."""
        with self._forgiving():
            query = "SELECT time FROM made WHERE pack = ? AND artifact = ?"
            found = ((pack, self._connection.execute(query, (bytes(pack), artifact)).fetchone()) for pack in packs)
            return {pack: row[0] for pack, row in found if row}
        return {}

    def add_hooks(self, run: str, hooks: Iterable[tuple[bytes, bytes]]) -> None:
        """Learn the (chunk id, pack id) pairs of a run of hooks."""
        with self._forgiving(), self._transaction():
            self._connection.executemany("INSERT OR IGNORE INTO hooks VALUES (?, ?)", hooks)
            self._connection.execute("INSERT OR IGNORE INTO seen VALUES (?)", (run,))

    def unseen(self, runs: Iterable[str]) -> list[str]:
        """Those of `runs` that were not learnt yet."""
        with self._forgiving():
            seen = {row[0] for row in self._connection.execute("SELECT name FROM seen")}
            return [run for run in runs if run not in seen]
        return []

    def hooked(self, ids: Sequence[bytes]) -> set[PackId]:
        """Packs that hold a chunk of `ids`, as the hooks say."""
        packs: set[PackId] = set()
        with self._forgiving():
            for start in range(0, len(ids), QUERY_SIZE):
                part = ids[start : start + QUERY_SIZE]
                marks = ",".join("?" * len(part))
                query = f"SELECT DISTINCT pack FROM hooks WHERE id IN ({marks})"  # noqa: S608 (question marks only)
                packs.update(PackId(row[0]) for row in self._connection.execute(query, part))
        return packs

    def condemned(self, names: Sequence[str], packs: Iterable[PackId]) -> tuple[list[str], set[PackId]]:
        """Those of `names`, of condemned lists, that were not learnt yet; and which of `packs` the others name."""
        with self._forgiving(), self._transaction("DEFERRED"):  # of one moment: the file may be thrown away
            known = {row[0] for row in self._connection.execute("SELECT name FROM lists")}
            query = "SELECT 1 FROM condemned WHERE pack = ?"
            found = {pack for pack in packs if known and self._connection.execute(query, (bytes(pack),)).fetchone()}
            return [name for name in names if name not in known], found
        return list(names), set()

    def add_condemned(self, name: str, packs: Iterable[PackId]) -> None:
        """Learn the packs of the condemned list `name`; `forget_condemned` has to follow."""
        with self._forgiving(), self._transaction():
            rows = ((bytes(pack),) for pack in packs)
            self._connection.executemany("INSERT OR IGNORE INTO condemned VALUES (?)", rows)
            self._connection.execute("INSERT OR IGNORE INTO lists VALUES (?)", (name,))

    def forget_condemned(self) -> None:
        """Forget what lies in packs that are condemned; it looks at everything that is known, once."""
        with self._forgiving(), self._transaction():
            known = "SELECT p.number FROM packs p JOIN condemned c ON c.pack = p.id"
            self._connection.execute(f"DELETE FROM chunks WHERE pack IN ({known})")  # noqa: S608 (no text of others)
            self._connection.execute(f"DELETE FROM packs WHERE number IN ({known})")  # noqa: S608
            for table in ("hooks", "made"):
                self._connection.execute(f"DELETE FROM {table} WHERE pack IN (SELECT pack FROM condemned)")  # noqa: S608

    def acknowledge(self, key: str, writer: str, *, newest: bool = False) -> None:
        """Learn that the version under `key`, by that writer, has all its packs as long as it is there.

        With `newest`, what was learnt of earlier versions of the artifact is forgotten.
        """
        with self._forgiving(), self._transaction():
            if newest:
                after = f"{key.rpartition('/')[0]}0"  # "0" follows "/"
                self._connection.execute("DELETE FROM acknowledged WHERE key > ? AND key < ?", (key, after))
            self._connection.execute("INSERT OR REPLACE INTO acknowledged VALUES (?, ?)", (key, writer))

    def is_acknowledged(self, key: str, writer: str) -> bool:
        """Whether that was learnt."""
        with self._forgiving():
            query = "SELECT 1 FROM acknowledged WHERE key = ? AND writer = ?"
            return self._connection.execute(query, (key, writer)).fetchone() is not None
        return False

    @contextlib.contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[None]:
        self._connection.execute(f"BEGIN {kind}")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:  # a full disk rolls back by itself
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


class _Forgiving:
    """Holds the lock, and swallows errors of SQLite; `replace` is called where the file itself is wrong."""

    def __init__(self, lock: threading.Lock, replace: Callable[[], None]) -> None:
        self._lock = lock
        self._replace = replace

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        try:
            if isinstance(error, sqlite3.Error) and _is_damage(error):
                self._replace()
            return isinstance(error, sqlite3.Error)
        finally:
            self._lock.release()


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is wrong: SQLITE_CORRUPT, SQLITE_NOTADB. A full or locked disk is another class."""
    return type(error) is sqlite3.DatabaseError
