"""Experiments: what a run is, and how it is run."""
