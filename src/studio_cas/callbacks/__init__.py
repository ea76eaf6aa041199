"""Callbacks for training libraries: a checkpoint that was saved is in the store at once. A module for each library."""
