"""Where a store is: in a folder, or on a Chroma server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from phi3kit.errors import SettingsError
from phi3kit.files import sha256_bytes
from phi3kit.models.packaged import cache_folder
from phi3kit.models.server_url import without_secrets

# The token that a server asks for, Chroma Cloud's too. It is sent and never written.
KEY = "CHROMA_API_KEY"

_WHERE = "ingest.store"
_NAME = re.compile(r"[\w.-]+")
# A host and a port, or one of them that says what it is: what a URL is without its scheme.
_BARE = re.compile(r"[\w.-]+:\d+(?:/.*)?|localhost(?:/.*)?|\d+(?:\.\d+){3}(?:/.*)?")


@dataclass(frozen=True, slots=True)
class Server:
    """A Chroma server: `chroma run`, or one that speaks its API.

    Attributes:
        tenant: whose databases; `database`: which of them.
    """

    host: str
    port: int
    ssl: bool
    tenant: str = "default_tenant"
    database: str = "default_database"

    def __str__(self) -> str:
        path = ("" if (self.tenant, self.database) == ("default_tenant", "default_database")
                else f"/{self.tenant}/{self.database}")
        return f"{self.address}{path}"

    @property
    def address(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.ssl else ''}://{host}:{self.port}"


Site = Path | Server


def site_of(text: str) -> Site:
    """The store that `ingest.store` names: a folder, or http(s)://host:port[/tenant/database].

    Raises:
        SettingsError: a URL that names no server, carries a password, or lacks its scheme.
    """
    if "://" not in text:
        if _BARE.fullmatch(text) and not Path(text).is_dir():
            raise SettingsError(f"'{text}' would be a folder of that name", where=_WHERE,
                                mend=f"Write http://{text} for a Chroma server, or ./{text}")
        return Path(text)
    try:
        parts = urlsplit(text)
        port = parts.port
        secret = bool(parts.username or parts.password)
    except ValueError:  # brackets that do not match, a port that is no number
        parts, port, secret = urlsplit(""), None, "@" in text
    if secret:
        raise SettingsError("the URL carries a password", where=_WHERE,
                            mend=f"Keys come from the environment: set {KEY}")
    path = [part for part in parts.path.split("/") if part]
    if (parts.scheme not in ("http", "https") or not parts.hostname or port == 0
            or len(path) not in (0, 2) or not all(map(_NAME.fullmatch, path))
            or parts.query or parts.fragment):
        told = re.split("[?#]", without_secrets(text))[0]  # what follows may be a token
        raise SettingsError(f"'{told}' is no URL of a Chroma server", where=_WHERE,
                            mend="Give http://host:8000 or https://host:443/tenant/database")
    ssl = parts.scheme == "https"
    return Server(parts.hostname, port or (443 if ssl else 8000), ssl, *path)


def local_folder(site: Site) -> Path:
    """Where this machine keeps what belongs to the store: its own folder, or one in the cache.

    On a server that is the index of words alone.
    """
    if isinstance(site, Path):
        return site
    return cache_folder() / "servers" / sha256_bytes(str(site).encode())[:32]
