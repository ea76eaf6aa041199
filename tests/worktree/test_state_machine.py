"""Any sequence of changes, captures and pulls, compared with a dict that remembers every version."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from studio_cas.backends.memory import MemoryBackend
from studio_cas.store.store import open_store
from studio_cas.store.versions import list_versions, resolve
from studio_cas.worktree.capture import capture
from studio_cas.worktree.diff import diff
from studio_cas.worktree.listing import entries, read_file
from studio_cas.worktree.materialise import materialise

NAMES = st.sampled_from(["a", "a-", "b", "c.log", "d", "d/a", "d/e/f", "d-/g"])
SIZES = st.sampled_from([0, 1, 900, 1500, 70_000, 300_000])
TAGS = st.sampled_from(["one", "two"])


def snapshot(root):
    """Each path with what a version keeps of it."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root)).encode()
        if path.is_symlink():
            found[name] = ("link", path.readlink())
        elif path.is_dir():
            found[name] = ("folder",)
        else:
            found[name] = ("file", bool(path.stat().st_mode & 0o100), path.read_bytes())
    return found


class Machine(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.base = Path(tempfile.mkdtemp())
        self.work, self.pulled = self.base / "work", self.base / "pulled"
        self.work.mkdir()
        self.store = open_store(MemoryBackend(), home=self.base / "home")
        self.versions = {"one": [], "two": []}
        self.fresh = 0

    def teardown(self):
        if hasattr(self, "base"):
            self.store.close()
            shutil.rmtree(self.base)

    def files(self):
        return [path for path in sorted(self.work.rglob("*")) if path.is_file() and not path.is_symlink()]

    def room(self, name):
        """The path, with nothing there and folders above it."""
        path = self.work / name
        for above in reversed(path.relative_to(self.work).parents):
            if (self.work / above).is_symlink() or (self.work / above).is_file():
                (self.work / above).unlink()
            (self.work / above).mkdir(exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        return path

    @rule(name=NAMES, size=SIZES, byte=st.integers(0, 255))
    def write(self, name, size, byte):
        self.room(name).write_bytes(random.Random(byte).randbytes(size))

    @rule(name=NAMES, leads_to=st.sampled_from(["a", "b", "nowhere"]))
    def link(self, name, leads_to):
        self.room(name).symlink_to(leads_to)

    @rule(name=NAMES)
    def folder(self, name):
        self.room(name).mkdir()

    @precondition(lambda self: self.files())
    @rule(data=st.data(), what=st.sampled_from(["append", "delete", "rename", "chmod"]), name=NAMES)
    def change(self, data, what, name):
        path = data.draw(st.sampled_from(self.files()))
        if what == "append":
            with path.open("ab") as file:
                file.write(b"one more line\n")
        elif what == "delete":
            path.unlink()
        elif what == "chmod":
            path.chmod(path.stat().st_mode ^ 0o100)
        else:
            content = path.read_bytes()
            path.unlink()
            self.room(name).write_bytes(content)

    @rule(tag=TAGS)
    def capture(self, tag):
        known, now = self.versions[tag], snapshot(self.work)
        result = capture(self.store, self.work, "exp", tag)
        assert result.created == (not known or known[-1] != now)
        if result.created:
            known.append(now)
        assert result.version.number == len(known)
        assert (result.stale, result.skipped) == ((), ())

    @rule()
    def lose_the_cache(self):
        self.store.close()
        shutil.rmtree(self.base / "home", ignore_errors=True)
        self.store = open_store(self.store.backend, home=self.base / "home")

    @precondition(lambda self: any(self.versions.values()))
    @rule(data=st.data(), fresh=st.booleans())
    def pull(self, data, fresh):
        tag, number = data.draw(
            st.sampled_from([(t, n) for t, known in self.versions.items() for n in range(len(known))])
        )
        found = resolve(self.store, f"exp/{tag}@{number + 1}")
        expected = self.versions[tag][number]
        self.fresh += 1
        dest = self.base / f"fresh-{self.fresh}" if fresh else self.pulled
        materialise(self.store, found, dest, force=True, links="allow")
        assert snapshot(dest) == expected
        assert {entry.path for entry in entries(self.store, found)} == set(expected)
        for path, entry in expected.items():
            if entry[0] == "file":
                assert b"".join(read_file(self.store, found, path)) == entry[2]

    @precondition(lambda self: len(self.versions["one"]) > 1)
    @rule(data=st.data())
    def compare(self, data):
        known = self.versions["one"]
        a, b = (data.draw(st.integers(0, len(known) - 1)) for _ in range(2))
        first, second = (resolve(self.store, f"exp/one@{number + 1}") for number in (a, b))
        told = {change.path for change in diff(self.store, first, second)}
        assert told == {p for p in known[a].keys() | known[b].keys() if known[a].get(p) != known[b].get(p)}
        assert [found.number for found in list_versions(self.store, "exp", "one")] == list(range(len(known), 0, -1))


TestStateMachine = Machine.TestCase
TestStateMachine.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
