"""The daemon that keeps artifacts up to date: what changed, when to capture it, and what is remembered of it."""
