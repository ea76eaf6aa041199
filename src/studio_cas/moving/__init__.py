"""Artifacts on their way out of a store, into one, and from one to another."""
