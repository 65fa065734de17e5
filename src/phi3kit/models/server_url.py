"""URLs of servers that users name: checked before anything is sent, or told."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from phi3kit.errors import ModelError

KEY = "PHI3KIT_API_KEY"

_HOST = re.compile(r"[\w.-]+|[0-9a-fA-F:.]+")  # a name, or IPv6 without its brackets
# Where keys stand: before the last "@", also in passwords with signs that have to be escaped, for
# what they leave as the port is no number; and in the query. A "#" begins a model's name.
_SECRET = re.compile(r"(?<=://)(?:[^/?#@\[]*:(?!\d*(?:[/?#]|$)).*|[^?#]*)@|(?<=\?)[^#]+",
                     re.DOTALL)
_LOCAL = ("127.0.0.1", "::1")
_PORTS = {"http": 80, "https": 443}


def checked_url(url: str, *, where: str, example: str = "http://localhost:11434/v1") -> str:
    """The base URL of an API, without a slash at its end.

    Args:
        url: what the user gave.
        where: the setting that names it.
        example: one that could stand there.

    Raises:
        ModelError: not an http or https URL, or one that carries a password or a query, which
            is where keys stand.
    """
    try:
        parts = urlsplit(url)
        # Ports are read when they are asked for.
        host = parts.hostname
        secret = any((parts.query, parts.username, parts.password))
        valid = parts.port != 0 and parts.scheme in _PORTS and _HOST.fullmatch(host or "")
    except ValueError:
        secret, valid = "@" in url or "?" in url, None
    if secret:  # not repeated: what is on the screen stands in logs too
        raise ModelError("the URL carries a password or a query", where=where,
                         mend=f"Keys come from the environment: set {KEY}")
    if not valid:
        raise ModelError(f"'{without_secrets(url)}' is no URL of a server", where=where,
                         mend=f"Give for example {example}")
    return url.rstrip("/")


def without_secrets(url: str) -> str:
    """What may be told of a URL that is not checked yet, or of a name that may be one."""
    if "://" not in url:
        return url
    return _SECRET.sub(lambda found: "…@" if found[0].endswith("@") else "…", url)


def same_server(url: str) -> str:
    """A checked URL such that two that reach the same server are mostly equal."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f":{parts.port}"
    return (f"{parts.scheme}://{'localhost' if host in _LOCAL else host}{port}"
            f"{parts.path.rstrip('/')}")
