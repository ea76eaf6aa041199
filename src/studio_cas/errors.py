"""Every error that studio_cas raises on purpose: one tree, one exit code a class.

A class says what the caller can do about it; `kind` is stable and meant for scripts; the message says what happened,
to which thing, and what to do next. Exit codes are documented in docs/cli.md.
"""

from __future__ import annotations


class StudioError(Exception):
    """Base of all errors raised on purpose. `kind` is stable; `exit_code` is what the command line returns."""

    kind = "error"
    exit_code = 1


class UsageError(StudioError):
    """The caller's argument is wrong: a name, a path, an option. Correct it and call again."""

    kind = "usage"
    exit_code = 2


class ConfigError(UsageError):
    """The configuration file does not make sense."""

    kind = "config"


class StoreUnavailableError(StudioError):
    """The store cannot be reached, does not exist, or refuses the credential."""

    kind = "store_unavailable"
    exit_code = 3


class PermissionDeniedError(StoreUnavailableError):
    """The store answered, and refused the credential."""

    kind = "permission_denied"


class OverwritesError(StoreUnavailableError):
    """The store replaces objects that exist, where it was asked not to: nobody may share it."""

    kind = "overwrites"


class TransientError(StoreUnavailableError):
    """The store failed in a way that may pass: a reset, a time-out, 429 or 5xx. Retrying makes sense."""

    kind = "transient"


class NotFoundError(StudioError):
    """No such experiment, tag, version, path or object."""

    kind = "not_found"
    exit_code = 4


class CorruptError(StudioError):
    """Bytes that were read are not the bytes that were written. Nothing of them reached a file."""

    kind = "corrupt"
    exit_code = 5


class RefusedError(CorruptError):
    """A manifest asks for something unsafe: a path outside the destination, an absurd size."""

    kind = "refused"


class UntrustedError(RefusedError):
    """A version has to be signed by somebody who is trusted, and is not."""

    kind = "untrusted"
    exit_code = 10


class ConflictError(StudioError):
    """Something is already there, and it is not ours to replace."""

    kind = "conflict"
    exit_code = 6


class ObjectExistsError(ConflictError):
    """A create-if-absent found an object under that key. Raised by backends only."""

    kind = "object_exists"


class NoSpaceError(StudioError):
    """A disk is full (or over quota). What was complete stays."""

    kind = "no_space"
    exit_code = 7


class IncompleteError(StudioError):
    """Done, but some paths were left out; the message names them."""

    kind = "incomplete"
    exit_code = 8


class LocalIOError(StudioError):
    """The local file system refused something: a permission, an I/O error."""

    kind = "local_io"
    exit_code = 9
