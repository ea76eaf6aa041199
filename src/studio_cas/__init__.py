"""Content-addressed artifact store for people who train models."""
