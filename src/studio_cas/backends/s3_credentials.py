"""AWS keys from a file; without one, botocore looks where Amazon's tools do. No message repeats what a file holds."""

from __future__ import annotations

import os
from configparser import ConfigParser
from configparser import Error as ParsingError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from studio_cas.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Keys:
    """An access key, its secret, and the token of a temporary one."""

    key: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


def load(file: Path, environ: Mapping[str, str] = os.environ) -> Keys:
    """The keys in `file`, in the form of `~/.aws/credentials`.

    Of several profiles the one that AWS_PROFILE names, else `default`. Lines before the first `[profile]` belong to
    `default`. Raises StoreUnavailableError.
    """
    parser = ConfigParser(interpolation=None, default_section="", strict=False)  # `[default]` may come a second time
    try:
        parser.read_string("[default]\n" + file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise StoreUnavailableError(f"the credentials file {file} can not be read: {error.strerror}") from error
    except (ParsingError, UnicodeDecodeError):  # without the cause: it may quote a key
        raise _invalid(file) from None
    profiles = {name: parser[name] for name in parser.sections() if parser[name]}
    wanted = environ.get("AWS_PROFILE") or "default"
    profile = next(iter(profiles.values())) if len(profiles) == 1 else profiles.get(wanted)
    if profile is None:
        if not profiles:
            raise _invalid(file)
        raise StoreUnavailableError(f"{file} has no profile {wanted}: set AWS_PROFILE to one of its profiles")
    key, secret = profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")
    if not key or not secret:
        raise _invalid(file)
    return Keys(key, secret, profile.get("aws_session_token") or None)


def _invalid(file: Path) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"{file} is not a file of AWS keys: write the lines aws_access_key_id = … and aws_secret_access_key = …"
    )


def found_by() -> str:
    """How Amazon's tools find a credential on this machine (`env`, `sso`, `iam-role`, …); "" where they find none."""
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    try:
        found = Session().get_credentials()
    except BotoCoreError:
        return ""
    return str(found.method) if found else ""
