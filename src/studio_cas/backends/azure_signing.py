"""The signature of a request to Azure with the key of a storage account: its scheme "Shared Key". Pure.

https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# In this order; the date and the range are sent as `x-ms-date` and `x-ms-range`, which are signed with their like.
_SIGNED: Final = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


def text_to_sign(account: str, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """What is signed. `path` is as it is sent, with the account in it where the service has it there; `query` is not.

    The names of `query` are in lower case, those of `headers` as they come.
    """
    found = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    if found.get("content-length") == "0":
        found["content-length"] = ""
    lines = [method, *(found.get(name, "") for name in _SIGNED)]
    lines += [f"{name}:{value}" for name, value in sorted(found.items()) if name.startswith("x-ms-")]
    lines.append(f"/{account}{path}")
    lines += [f"{name}:{value}" for name, value in sorted(query.items())]
    return "\n".join(lines)


def signature(key: bytes, text: str) -> str:
    """The signature of `text`, in base64."""
    return base64.b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).decode()
