"""Writers of SQLite databases, and whether what was captured of one is a moment that there was.

Every transaction adds a row, and writes its number over all blocks of another table; so in a whole database all blocks
have the number of the last row.
"""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

BLOCKS = 40
BLOCK = 3000


def connect(path, mode, **options):
    """The database in a journal mode, `wal`, `delete`, `truncate` or `persist`, made where it is not there."""
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, **options)
    assert database.execute(f"PRAGMA journal_mode = {mode}").fetchone()[0] == mode
    database.execute("CREATE TABLE IF NOT EXISTS steps (number INTEGER PRIMARY KEY)")
    database.execute("CREATE TABLE IF NOT EXISTS blocks (number INTEGER PRIMARY KEY, value BLOB)")
    if not database.execute("SELECT count(*) FROM blocks").fetchone()[0]:
        step(database, 0)
    return database


def step(database, number, blocks=BLOCKS, pause=0.0):
    """One transaction, which rests in the middle: where the cache is small, half of it is in the file by then."""
    database.execute("BEGIN")
    database.execute("INSERT OR REPLACE INTO steps VALUES (?)", (number,))
    rows = [(index, b"%015d\n" % number * (BLOCK // 16)) for index in range(blocks)]
    database.executemany("INSERT OR REPLACE INTO blocks VALUES (?, ?)", rows[: blocks // 2])
    time.sleep(pause)
    database.executemany("INSERT OR REPLACE INTO blocks VALUES (?, ?)", rows[blocks // 2 :])
    database.execute("COMMIT")


def last_step(files, name, folder):
    """The number of the last transaction in the database `name` of the captured `files`.

    Raises AssertionError where it is not whole.
    """
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for side in (name, f"{name}-wal", f"{name}-journal"):
        if side in files:
            (folder / side).write_bytes(files[side])
    with closing(sqlite3.connect(folder / name)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        steps = database.execute("SELECT max(number), count(*) FROM steps").fetchone()
        numbers = {bytes(value[:15]) for (value,) in database.execute("SELECT value FROM blocks")}
    assert steps[0] == steps[1] - 1
    assert numbers == {b"%015d" % steps[0]}
    return steps[0]


class Elsewhere:
    """A database that another process has open: what closes a file here would drop the locks that we have on it."""

    def __init__(self, path, mode):
        text = (
            "import sys\nfrom tests.reliability.databases import *\n"
            f"database = connect({str(path)!r}, {mode!r})\n"
            "print(flush=True)\n"
            "for line in sys.stdin:\n    exec(line)\n    print(flush=True)\n"
        )
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(
            [sys.executable, "-c", text], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._wait()

    def _wait(self):
        assert self._process.stdout.readline() == "\n"

    def run(self, statement):
        """One line of Python, which may use `database`."""
        self._process.stdin.write(statement + "\n")
        self._process.stdin.flush()
        self._wait()

    def execute(self, sql):
        self.run(f"database.execute({sql!r})")

    def step(self, number, blocks=BLOCKS):
        self.run(f"step(database, {number}, {blocks})")

    def spill(self):
        """Begin a transaction, half of which is in the file already, or in the log."""
        self.execute("PRAGMA cache_size = 2")
        self.execute("BEGIN")
        self.run("for index in range(40): database.execute('UPDATE blocks SET value=0 WHERE number=?', (index,))")

    def kill(self):
        self._process.kill()
        self.close()

    def close(self):
        if self._process.poll() is None:
            self._process.stdin.write("database.close()\n")
        self._process.communicate()
