"""A login to Azure: a workload's, a machine's or a person's identity, whichever azure-identity finds first."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.identity import DefaultAzureCredential

from studio_cas.errors import PermissionDeniedError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

_SCOPE: Final = "https://storage.azure.com/.default"
_EARLY_SECONDS: Final = 300.0  # before its end a token is replaced


class Login:
    """Tokens of one identity, kept until shortly before they end."""

    def __init__(self, credential: Any = None, clock: Callable[[], float] = time.time) -> None:
        logging.getLogger("azure.identity").setLevel(logging.CRITICAL)  # it logs what it then raises
        self._credential = DefaultAzureCredential() if credential is None else credential
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._ends = 0.0

    def token(self) -> str:
        """A token that is good for some minutes. Raises PermissionDeniedError, TransientError."""
        with self._lock:
            if self._clock() > self._ends - _EARLY_SECONDS:
                self._renew()
            return self._token

    def _renew(self) -> None:
        try:
            found = self._credential.get_token(_SCOPE)
        except ClientAuthenticationError:  # its text is a page long, and may quote an answer
            raise PermissionDeniedError(
                "no Azure login can be used: run `az login`, set AZURE_CLIENT_ID, AZURE_TENANT_ID and "
                "AZURE_CLIENT_SECRET, or give the account's key or a SAS token (AZURE_STORAGE_KEY, "
                "AZURE_STORAGE_SAS_TOKEN, or `credentials:` in the storage section)"
            ) from None
        except AzureError as error:
            raise TransientError(f"Azure's login service gave no token: {type(error).__name__}") from None
        self._token, self._ends = found.token, float(found.expires_on)
