"""The command `studio`, one file a command."""
