"""Packs, the catalog and versions, over a backend."""
