"""The callbacks in real trainings, each under `studio run`. Skipped where a library is missing.

tests/callbacks/with_real_packages installs the libraries, and runs this.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import subprocess
import sys

import pytest
from tests.callbacks.facts import BASES, HOOKS, LIGHTNING_SAVES_WITH

NEEDED = {"keras": ["keras", "torch"], "lightning": ["lightning"], "transformers": ["transformers", "accelerate"]}
START = """\
import json, os, sys
from pathlib import Path
import studio_cas
from studio import fs_tracker

def held():
    "The paths in the newest version of modeldir in the store, now."
    with studio_cas.open_store(sys.argv[1]) as store:
        entries = studio_cas.entries(store, studio_cas.resolve(store, "exp/modeldir"))
        return sorted(entry.path.decode() for entry in entries if entry.kind == "file")

folder = Path(fs_tracker.get_model_directory())
found = fs_tracker.latest_checkpoint()
"""
END = """
print(json.dumps({"started_from": found and found.name, "held": held(), "newest": fs_tracker.latest_checkpoint().name}))
"""
TRAININGS = {
    "keras": """
import numpy, keras
from studio_cas.callbacks.keras import CommitCheckpoints
model = keras.models.load_model(found) if found else keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile(loss="mse", optimizer="adam")
class Look(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        assert f"epoch-{epoch + 1}.keras" in held(), held()
save = keras.callbacks.ModelCheckpoint(folder / "epoch-{epoch}.keras")
data = numpy.random.rand(8, 3), numpy.random.rand(8, 1)
model.fit(*data, epochs=2, verbose=0, callbacks=[save, CommitCheckpoints(), Look()])
keras.models.load_model(fs_tracker.latest_checkpoint())
""",
    "lightning": """
import torch, lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from studio_cas.callbacks.lightning import CommitCheckpoints
class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
    def training_step(self, batch, _):
        return self.layer(batch[0]).sum()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)
    def on_train_epoch_start(self):
        if self.current_epoch > first:
            assert any(f"epoch={self.current_epoch - 1}-" in name for name in held()), held()
first = torch.load(found, weights_only=False)["epoch"] + 1 if found else 0
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.rand(8, 3)), 4)
save = ModelCheckpoint(folder, save_top_k=-1)
trainer = pl.Trainer(max_epochs=first + 2, accelerator="cpu", logger=False, enable_progress_bar=False,
                     enable_model_summary=False, callbacks=[CommitCheckpoints(), save])
trainer.fit(Model(), loader, ckpt_path=found, weights_only=False)
""",
    "transformers": """
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments
from studio_cas.callbacks.transformers import CommitCheckpoints
config = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
row = {"input_ids": torch.tensor([1, 2, 3]), "labels": torch.tensor(1)}
class Look(TrainerCallback):
    def on_save(self, args, state, control, **kwargs):
        assert f"checkpoint-{state.global_step}/trainer_state.json" in held(), held()
arguments = TrainingArguments(str(folder), max_steps=8 if found else 4, save_steps=2, save_total_limit=2,
                              report_to=[], use_cpu=True, disable_tqdm=True)
trainer = Trainer(BertForSequenceClassification(config), arguments, train_dataset=[row] * 16,
                  callbacks=[CommitCheckpoints(), Look()])
trainer.train(resume_from_checkpoint=str(found) if found else None)
""",
}
NEWEST = {
    "keras": ("epoch-2.keras", "epoch-2.keras"),
    "lightning": ("epoch=1-step=4.ckpt", "epoch=3-step=8.ckpt"),
    "transformers": ("checkpoint-4", "checkpoint-8"),
}


@pytest.fixture(params=BASES)
def library(request):
    for name in NEEDED[request.param]:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: tests/callbacks/with_real_packages installs it, and runs this")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return request.param


@pytest.mark.filterwarnings("ignore")  # what the libraries warn of is theirs
def test_the_recorded_facts_are_those_of_the_library(library):
    module, name = BASES[library]
    base = getattr(importlib.import_module(module), name)
    for hook, parameters in HOOKS[library].items():
        assert list(inspect.signature(getattr(base, hook)).parameters) == parameters
    if library == "lightning":
        trainer = importlib.import_module(module).Trainer
        assert list(inspect.signature(trainer.save_checkpoint).parameters) == LIGHTNING_SAVES_WITH
        assert isinstance(trainer.is_global_zero, property)


@pytest.mark.slow
def test_checkpoints_are_in_the_store_while_it_trains_and_a_second_run_goes_on_from_them(library, tmp_path):
    script, home = tmp_path / "train.py", tmp_path / "home"
    script.write_text(START + TRAININGS[library] + END)
    store = home / ".studioml" / "store"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STUDIO")}
    environment = {**kept, "HOME": str(home), "KERAS_BACKEND": "torch", "HF_HUB_OFFLINE": "1"}
    words = [sys.executable, "-m", "studio_cas.cli.main", "run", "--quiet", "--interval", "1h", "-e", "exp"]
    home.mkdir()
    told = []
    for _ in range(2):
        done = subprocess.run(
            [*words, script, store],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        told.append(json.loads(done.stdout.splitlines()[-1]))
    first, second = NEWEST[library]
    assert (told[0]["started_from"], told[0]["newest"]) == (None, first)
    assert (told[1]["started_from"], told[1]["newest"]) == (first, second)
    assert any(name.startswith(second) for name in told[1]["held"])
