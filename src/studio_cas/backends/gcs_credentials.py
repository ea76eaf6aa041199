"""Google credentials from a file, or where Google's tools look for them; never a silent fall back to none.

No message repeats what a file holds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import google.auth
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.oauth2 import credentials as user_account
from google.oauth2 import service_account

from studio_cas.errors import StoreUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

SCOPES: Final = ("https://www.googleapis.com/auth/devstorage.read_write",)


def load(file: Path | None) -> tuple[Any, str]:
    """The credential in `file`, or the application default; and the project that it belongs to, "" if unknown.

    Raises StoreUnavailableError with one sentence that says what to do.
    """
    if file is not None:
        return _from_file(file)
    try:
        credential, project = google.auth.default(scopes=SCOPES)
    except DefaultCredentialsError as error:
        raise StoreUnavailableError(
            "no Google credentials were found: give the file of a service account as `credentials:` in the storage "
            "section (or in GOOGLE_APPLICATION_CREDENTIALS), or run `gcloud auth application-default login`"
        ) from error
    return credential, project or ""


def _from_file(file: Path) -> tuple[Any, str]:
    """A service account's key, or what `gcloud auth application-default login` writes."""
    try:
        content = json.loads(file.read_bytes())
        kind = content.get("type")
        if kind == "service_account":
            key: Any = service_account.Credentials  # without types
            return key.from_service_account_info(content, scopes=SCOPES), content["project_id"]
        if kind == "authorized_user":
            user: Any = user_account.Credentials
            return user.from_authorized_user_info(content), content.get("quota_project_id", "")
    except OSError as error:
        raise StoreUnavailableError(f"the credentials file {file} can not be read: {error.strerror}") from error
    except (ValueError, LookupError, AttributeError, GoogleAuthError):
        # Without the cause: it may quote the key.
        raise StoreUnavailableError(f"{file} is not a valid Google credentials file") from None
    raise StoreUnavailableError(
        f"{file} is not the key of a service account; for other kinds set GOOGLE_APPLICATION_CREDENTIALS to it instead"
    )
