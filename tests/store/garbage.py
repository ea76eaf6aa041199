"""What tests of the collector begin with: a clock, and stores with something that nobody needs."""

from __future__ import annotations

import os
import time

from tests.reliability.folders import snapshot

from studio_cas.formats import keys
from studio_cas.ids import PackId
from studio_cas.store import versions
from studio_cas.worktree.materialise import materialise

DAY = 86400.0


class Clock:
    """An hour behind that of this machine."""

    def __init__(self):
        self.now = time.time() - 3600

    def __call__(self):
        self.now += 0.01
        return self.now


def objects(store, *prefixes):
    return {found.key for prefix in prefixes or ("",) for found in store.backend.list(prefix)}


def packs(store):
    return {keys.pack_id_of(key) for key in objects(store, keys.PACKS, keys.TREES)}


def remove(store, name):
    version = versions.resolve(store, name)
    store.backend.delete(keys.version(version.experiment, version.tag, version.number))


def put(store, pack=None, *, tree=False):
    pack = pack or PackId.random()
    store.backend.create(keys.pack(pack, tree=tree), [b"what nobody names"])
    return pack


def pulled(store, name, dest):
    materialise(store, versions.resolve(store, name), dest)
    return snapshot(dest)


def change(work, name="sub/small-3", size=200_000):
    (work / name).write_bytes(os.urandom(size))
