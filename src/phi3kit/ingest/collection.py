"""A Chroma collection that is open, and while it is read the one that takes its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from phi3kit.errors import StoreError
from phi3kit.ingest import lease
from phi3kit.ingest.client import current
from phi3kit.ingest.faults import ReplacedError, VanishedError, explained, require_room
from phi3kit.ingest.manifest import Manifest, manifest_from
from phi3kit.ingest.site import Site

KEY = "phi3kit"  # of our manifest in the collection's metadata
PAGE = 1000  # chunks per read: bounds memory, and SQLite's variables

Ask = Callable[[Any], Any]


class Collection:
    """Every call to Chroma goes through here, and its errors come back as one line of ours.

    Args:
        client: Chroma's.
        raw: Chroma's collection.
        site: where the store is.
        name: to go on with the collection that takes this one's place while it is read; None:
            only this one will do.

    Attributes:
        manifest: what the collection was built with.
    """

    def __init__(self, client: Any, raw: Any, site: Site, where: str, *,
                 name: str | None = None) -> None:
        self._client = client
        self._raw = raw
        self._site = site
        self._where = where
        self._name = name
        self.manifest = self._manifest_of(raw)

    @property
    def id(self) -> str:
        """Chroma's, another one for the collection that takes this one's place."""
        return str(self._raw.id)

    @property
    def name(self) -> str:
        """Of the collection; a staged one has a name of its own (see `swap`)."""
        return str(self._raw.name)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What is kept with the collection, our manifest under `KEY`."""
        return self._raw.metadata or {}

    @property
    def configuration(self) -> Mapping[str, Any]:
        """Chroma's settings of the index."""
        return dict(self._raw.configuration_json)

    def close(self) -> None:
        """Let go of the files, so that the folder can be deleted and made again."""
        self._client.close()

    def read(self, ask: Ask, only: Sequence[str] | None = None) -> Any:
        """What `ask` tells of the collection, or of the one that took its place.

        Args:
            ask: called with Chroma's collection.
            only: IDs that it asks for.

        Raises:
            VanishedError: it was replaced, and `only` are IDs of the former one.
        """
        try:
            return self.read_this(ask)
        except ReplacedError:
            if not self._follow():
                raise
        if only is not None:
            raise VanishedError("the collection was built anew meanwhile", where=self._where,
                                mend="Run the same again")
        return self.read_this(ask)

    def read_this(self, ask: Ask) -> Any:
        """As `read`, but of the collection that is open, or not at all."""
        with explained(self._where):
            return ask(self._raw)

    def pages(self, include: list[str],
              where: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Its rows, a page at a time, all of them of the same collection."""
        def ask(raw: Any) -> Any:
            return raw.get(include=include, where=where, limit=PAGE, offset=offset)

        offset = 0
        while True:
            page = self.read_this(ask) if offset else self.read(ask)
            if page["ids"]:
                yield page
            if len(page["ids"]) < PAGE:
                return
            offset += PAGE

    def write(self, change: Ask, size: int = 0) -> None:
        """Have `change` write to Chroma's collection, where there is room and it is ours to do.

        Args:
            size: bytes that are written.
        """
        if isinstance(self._site, Path):
            require_room(self._site, size)
        else:
            lease.require(str(self._site))
        with explained(self._where):
            change(self._raw)

    def batches(self, total: int) -> Iterator[slice]:
        """Parts of `total` rows, as large as one write may be."""
        size = self._client.get_max_batch_size()
        for at in range(0, total, size):
            yield slice(at, at + size)

    def _follow(self) -> bool:
        """Go over to the collection that took this one's place; False: there is none."""
        found = (None if self._name is None else
                 current(self._client, self._name, self._where))
        if found is None or found.id == self._raw.id:
            return False
        manifest = self._manifest_of(found)
        if (manifest.fingerprint, manifest.precision) != (self.manifest.fingerprint,
                                                          self.manifest.precision):
            raise StoreError("the collection was built anew with another embedder meanwhile",
                             where=self._where, mend="Run the same again")
        self._raw, self.manifest = found, manifest
        return True

    def _manifest_of(self, raw: Any) -> Manifest:
        return manifest_from((raw.metadata or {}).get(KEY, ""), self._where)
