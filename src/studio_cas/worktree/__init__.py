"""The only layer that touches the files of users."""
