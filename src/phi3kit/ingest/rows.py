"""What the store keeps of a text: the passage once, and every place that it stands in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from typing import Any

from phi3kit.files import sha256_bytes
from phi3kit.ingest.chunking import Chunk
from phi3kit.records import Passage


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands, and in which version of the file.

    Attributes:
        start: first character in the document's extracted text; `end` is one past the last.
        page: 1-based page, for formats that have pages.
        heading: the headings above, joined with " > ".
        file_sha256: hash of the file's bytes.
        of: number of places in that file: with fewer, the collection does not hold it whole.
        problems: number of its parts that could not be read.
    """

    source: str
    start: int
    end: int
    page: int | None
    heading: str
    file_sha256: str
    of: int
    problems: int

    @property
    def order(self) -> tuple[str, int, int]:
        """What places are sorted by, so that the same folders always give the same passages."""
        return self.source, self.start, self.end


@dataclass(frozen=True, slots=True)
class Row:
    """A text of the collection, stored and embedded once however often it occurs.

    Attributes:
        id: identity of what was embedded and of the text.
        above: what was embedded in front of the text: headings, or the document's title.
        places: one or more, in `Place.order`.
    """

    id: str
    above: str
    text: str
    places: tuple[Place, ...]

    @property
    def embedded(self) -> str:
        """What the embedder was given."""
        return self.above + self.text

    @property
    def sources(self) -> tuple[str, ...]:
        """The documents that hold the text, in order."""
        return tuple(dict.fromkeys(place.source for place in self.places))

    def metadata(self) -> dict[str, Any]:
        """What Chroma keeps besides ID, text and vector.

        The first place is written out, so that Chroma's own filters and viewers can use it;
        all of them are in `places`. None takes a key away when metadata is updated.
        """
        first = self.places[0]
        return {"source": first.source, "heading": first.heading, "start": first.start,
                "end": first.end, "page": first.page, "sha256": sha256_bytes(self.text.encode()),
                "above": self.above, "sources": list(self.sources),
                "places": [json.dumps(astuple(place), ensure_ascii=False)
                           for place in self.places]}


def identity(chunk: Chunk) -> str:
    """The ID of a chunk: equal for equal text under equal headings, wherever it stands.

    The text is part of it because what is embedded does not tell where its heading ends.
    """
    return sha256_bytes(f"{chunk.embedded}\x00{chunk.text}".encode())[:32]


def above(chunk: Chunk) -> str:
    """What stands in front of the chunk's text in what is embedded."""
    return chunk.embedded.removesuffix(chunk.text)


def in_order(places: Iterable[Place]) -> tuple[Place, ...]:
    """Each place once, sorted."""
    return tuple(sorted(set(places), key=lambda place: place.order))


def places_of(meta: Mapping[str, Any]) -> tuple[Place, ...]:
    """The inverse of what `Row.metadata` writes."""
    return tuple(Place(*json.loads(text)) for text in meta["places"])


def passage_of(id_: str, text: str, meta: Mapping[str, Any], score: float | None) -> Passage:
    """The passage as other rooms see it: at its first place, with all of its sources."""
    return Passage(id=id_, text=text, source=meta["source"], start=int(meta["start"]),
                   end=int(meta["end"]), page=meta.get("page"), heading=meta.get("heading", ""),
                   sha256=meta["sha256"], score=score, sources=tuple(meta["sources"]))
