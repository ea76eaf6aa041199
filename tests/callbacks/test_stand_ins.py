"""The callbacks against stand-ins of the libraries, which are too heavy to be installed for every test run."""

from __future__ import annotations

import importlib
import inspect
import sys
from types import ModuleType, SimpleNamespace

import pytest
from tests.callbacks.facts import BASES, HOOKS, LIGHTNING_SAVES_WITH

from studio_cas.callbacks import committing
from studio_cas.errors import TransientError
from studio_cas.experiment import fs_tracker


@pytest.fixture
def committed(monkeypatch):
    """The tags that were committed; the test is in a run."""
    tags = []
    monkeypatch.setenv(fs_tracker.MAPPING_VARIABLE, '{"modeldir": "/m"}')
    monkeypatch.setattr(fs_tracker, "commit", lambda tag, timeout: tags.append(tag) or f"exp/{tag}@1")
    return tags


@pytest.fixture
def load(monkeypatch, committed):
    """Import the callback of a library, with a stand-in for the library."""

    def load(library, base=None):
        place, name = base or BASES[library]
        stand_in = type(name, (), {hook: lambda *_words, **_options: None for hook in HOOKS[library]})
        for end in range(1, len(place.split(".")) + 1):
            module = ModuleType(".".join(place.split(".")[:end]))
            monkeypatch.setitem(sys.modules, module.__name__, module)
        setattr(sys.modules[place], name, stand_in)
        monkeypatch.delitem(sys.modules, f"studio_cas.callbacks.{library}", raising=False)
        found = importlib.import_module(f"studio_cas.callbacks.{library}").CommitCheckpoints
        monkeypatch.delitem(sys.modules, f"studio_cas.callbacks.{library}")
        assert issubclass(found, stand_in)
        return found

    return load


@pytest.mark.parametrize("library", BASES)
def test_hooks_are_those_of_the_library(load, library):
    found = load(library)
    for hook, parameters in HOOKS[library].items():
        assert list(inspect.signature(vars(found)[hook]).parameters) == parameters
    assert {name for name in vars(found) if name.startswith(("on_", "setup", "teardown"))} == set(HOOKS[library])


def test_keras_commits_after_each_epoch_and_at_the_end(load, committed):
    callback = load("keras")("weights")
    callback.on_epoch_end(0, {"loss": 1.0})
    callback.on_epoch_end(1)
    callback.on_train_end()
    assert committed == ["weights"] * 3


class Trainer:
    """As Lightning's, as far as we know it."""

    def __init__(self, *, first=True):
        self.saved = []
        self.is_global_zero = first

    def save_checkpoint(self, filepath, weights_only=None, storage_options=None):
        self.saved.append((filepath, weights_only))


def test_lightning_commits_once_a_checkpoint_was_saved(load, committed):
    assert list(inspect.signature(Trainer.save_checkpoint).parameters) == LIGHTNING_SAVES_WITH
    callback, trainer = load("lightning")(), Trainer()
    trainer.save_checkpoint("before")
    callback.setup(trainer, None, "fit")
    trainer.save_checkpoint("model.ckpt", weights_only=True)
    assert trainer.saved[1:] == [("model.ckpt", True)]
    assert committed == ["modeldir"]
    callback.teardown(trainer, None, "fit")
    trainer.save_checkpoint("after")
    assert committed == ["modeldir"]


def test_two_lightning_callbacks_commit_two_artifacts(load, committed):
    found, trainer = load("lightning"), Trainer()
    one, other = found("one"), found("other")
    for callback in (one, other):
        callback.setup(trainer, None, "fit")
    trainer.save_checkpoint("model.ckpt")
    assert committed == ["one", "other"]
    for callback in (one, other):
        callback.teardown(trainer, None, "fit")
    trainer.save_checkpoint("model.ckpt")
    assert committed == ["one", "other"]


def test_lightning_under_its_other_name(load, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)  # not installed
    assert load("lightning", ("pytorch_lightning", "Callback"))


def test_transformers_commits_after_each_save(load, committed):
    callback = load("transformers")("out")
    callback.on_save(None, SimpleNamespace(is_world_process_zero=True), None, model=None)
    assert committed == ["out"]


@pytest.mark.parametrize("library", ["lightning", "transformers"])
def test_only_the_first_process_commits(load, committed, library):
    callback = load(library)()
    if library == "transformers":
        callback.on_save(None, SimpleNamespace(is_world_process_zero=False), None)
    else:
        trainer = Trainer(first=False)
        callback.setup(trainer, None, "fit")
        trainer.save_checkpoint("model.ckpt")
        assert trainer.saved
    assert committed == []


def test_a_store_that_is_away_ends_no_training(committed, monkeypatch):
    def away(tag, timeout):
        raise TransientError("the store does not answer")

    monkeypatch.setattr(fs_tracker, "commit", away)
    with pytest.warns(UserWarning, match="the checkpoint in w is not in the store yet: the store does not answer"):
        committing.commit_checkpoint("w")


def test_outside_of_a_run_nothing_is_committed(committed, monkeypatch):
    monkeypatch.delenv(fs_tracker.MAPPING_VARIABLE)
    committing.commit_checkpoint("w")
    assert committed == []
