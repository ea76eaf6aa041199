"""Prints the L2 norm of the newest weights of artifact `w`.

After train_linreg.py:  studio run --reuse=linear_regression/weights:w print_norm_linreg.py
"""

import pickle
from pathlib import Path

import numpy as np

from studio import fs_tracker

weights = Path(fs_tracker.get_artifact("w")).glob("lr_w_*.pck")
newest = max(weights, key=lambda file: int(file.name.split("_")[2]), default=None)
if newest is None:
    raise SystemExit("artifact w holds no weights: run train_linreg.py first")

w = pickle.loads(newest.read_bytes())
print("*****")
print(newest)
print(np.linalg.norm(w))
print("*****")
