"""What the callbacks rely on in each library, as read off these versions: hooks of the base class and their parameters.

The tests that run without the libraries take stand-ins built from this; those that run with them compare.
"""

VERSIONS = {"keras": "3.15.1", "lightning": "2.6.6", "transformers": "5.24.0"}
BASES = {
    "keras": ("keras.callbacks", "Callback"),
    "lightning": ("lightning.pytorch", "Callback"),
    "transformers": ("transformers", "TrainerCallback"),
}
HOOKS = {
    "keras": {"on_epoch_end": ["self", "epoch", "logs"], "on_train_end": ["self", "logs"]},
    "lightning": {
        "setup": ["self", "trainer", "pl_module", "stage"],
        "teardown": ["self", "trainer", "pl_module", "stage"],
    },
    "transformers": {"on_save": ["self", "args", "state", "control", "kwargs"]},
}
LIGHTNING_SAVES_WITH = ["self", "filepath", "weights_only", "storage_options"]  # Trainer.save_checkpoint
