"""Linear regression by gradient descent, which pickles its weights at each step.

Try it alone:  python train_linreg.py
Or captured:   studio run --capture=~/weights:weights --experiment linear_regression train_linreg.py
"""

import argparse
import pickle
import time
from pathlib import Path

import numpy as np

try:
    from studio import fs_tracker

    artifacts = fs_tracker.get_artifacts()
except ImportError:
    artifacts = {}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=10, help="how many steps to make (10)")
parser.add_argument("--sleep", type=float, default=0.0, help="seconds to rest after each step (0)")
arguments = parser.parse_args()

# the folder captured under the tag `weights`, wherever it is on this machine; ~/weights where nobody captures
folder = Path(artifacts.get("weights", "~/weights")).expanduser()
folder.mkdir(parents=True, exist_ok=True)

no_samples, dim_samples = 100, 5
learning_rate = 0.01

random = np.random.default_rng(seed=0)
X = random.random((no_samples, dim_samples))
y = X @ np.arange(1, dim_samples + 1) + 0.1 * random.standard_normal(no_samples)
w = random.random(dim_samples)

for step in range(arguments.steps):
    err = X @ w - y
    w -= learning_rate * (err @ X)
    loss = 0.5 * err @ err
    print(f"step = {step}, loss = {loss:.6f}, L2 norm = {np.linalg.norm(w):.6f}", flush=True)
    (folder / f"lr_w_{step}_{loss:.6f}.pck").write_bytes(pickle.dumps(w))
    time.sleep(arguments.sleep)
