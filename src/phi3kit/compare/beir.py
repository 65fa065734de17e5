"""Collections in BEIR's layout: documents, queries, and which document answers which query."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from msgspec.structs import replace

from phi3kit.compare.questions import record_of
from phi3kit.errors import DataError
from phi3kit.files import sha256_bytes
from phi3kit.progress import note
from phi3kit.settings import Settings

_LAYOUT = ("A BEIR folder holds corpus.jsonl (_id, title, text), queries.jsonl (_id, text) and "
           "qrels/test.tsv (query-id, corpus-id, score)")
_LONGEST = 150  # of a folder's name, in characters; most file systems allow 255 bytes


@dataclass(frozen=True, slots=True)
class Beir:
    """A collection.

    Attributes:
        folder: where it lies.
        documents: Markdown by ID; documents without a word are left out.
        queries: text by ID.
        relevant: for each query that has some, its relevant documents with their grades, 1
            and up.
    """

    folder: Path
    documents: Mapping[str, str]
    queries: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]


def read_beir(folder: Path) -> Beir:
    """Read a folder of corpus.jsonl, queries.jsonl and qrels/*.tsv (Thakur et al. 2021).

    Of several files in qrels, test.tsv is taken. A query without relevant documents is not
    asked; a relevant document that the corpus lacks stays one that is not found.

    Raises:
        DataError: a file is missing or not UTF-8, or a line is wrong; names file and line.
    """
    documents = {id_: _markdown(record, where)
                 for id_, record, where in _records(folder / "corpus.jsonl")}
    queries = {id_: _words(record, "text", where)
               for id_, record, where in _records(folder / "queries.jsonl")}
    path = _judgements(folder / "qrels")
    relevant: dict[str, dict[str, int]] = {}
    for query, document, grade, where in _grades(path):
        if query not in queries:
            raise DataError(f"queries.jsonl has no query '{query}'", where=where,
                            mend="Add it, or take the line out")
        if grade > 0:
            relevant.setdefault(query, {})[document] = grade
    if not relevant:
        raise DataError("no document is relevant to any query", where=str(path), mend=_LAYOUT)
    lacking = {name for grades in relevant.values() for name in grades} - documents.keys()
    if lacking:
        note(f"{path}: {len(lacking)} relevant documents are not in corpus.jsonl, such as "
             f"'{min(lacking)}'; they count as not found")
    return Beir(folder, {id_: text for id_, text in documents.items() if text}, queries, relevant)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Each line that holds something, with its place."""
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield line.rstrip("\r\n"), f"{path}:{number}"
    except FileNotFoundError as error:
        raise DataError("there is no such file", where=str(path), mend=_LAYOUT) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read as UTF-8 text ({error})", where=str(path)) from error


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any], str]]:
    """(ID, record, place) of each line; an ID may not come twice."""
    first: dict[str, str] = {}
    for line, where in _lines(path):
        record = record_of(line, where)
        value = record.get("_id")
        id_ = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(id_, str) or not id_.strip():
            raise DataError("field '_id' must be text and not empty", where=where, mend=_LAYOUT)
        if id_ in first:
            raise DataError(f"the _id '{id_}' stands in {first[id_]} too", where=where,
                            mend="Give each line an _id of its own")
        first[id_] = where
        yield id_, record, where
    if not first:
        raise DataError("there is nothing in it", where=str(path), mend=_LAYOUT)


def _words(record: Mapping[str, Any], name: str, where: str, *, empty: bool = False) -> str:
    value = record.get(name, "" if empty else None)
    value = "" if value is None and empty else value
    if not isinstance(value, str) or not (empty or value.strip()):
        wrong = "must be text" if empty else "must be text and not empty"
        raise DataError(f"field '{name}' {wrong}", where=where, mend=_LAYOUT)
    return value.strip()


def _markdown(record: Mapping[str, Any], where: str) -> str:
    title = " ".join(_words(record, "title", where, empty=True).split())
    text = _words(record, "text", where, empty=True)
    return "\n\n".join(part for part in (f"# {title}" if title else "", text) if part)


def _judgements(folder: Path) -> Path:
    found = sorted(folder.glob("*.tsv"))
    chosen = folder / "test.tsv"
    if chosen in found or not found:
        return chosen
    if len(found) > 1:
        raise DataError(f"there are {', '.join(path.name for path in found[:5])}, and no test.tsv",
                        where=str(folder), mend="Keep the one to be used, or name it test.tsv")
    return found[0]


def _grades(path: Path) -> Iterator[tuple[str, str, int, str]]:
    """(query, document, grade, place) of each line; a first line may name the columns."""
    for number, (line, where) in enumerate(_lines(path)):
        parts = line.split("\t")
        if number == 0 and parts[-1].strip() == "score":
            continue
        if len(parts) != 3:
            raise DataError(f"expected 3 columns between tabs, found {len(parts)}", where=where,
                            mend="Write query-id, corpus-id and score")
        query, document, grade = (part.strip() for part in parts)
        try:
            yield query, document, int(grade), where
        except ValueError as error:
            raise DataError(f"the score '{grade}' is not a whole number", where=where,
                            mend="Write 0 for not relevant, 1 and up for relevant") from error


def collect(settings: Settings, given: Beir) -> tuple[Settings, Callable[[str], str]]:
    """Bring the documents into a collection of their own, beside the project's.

    Returns:
        The settings with that collection, and what gives a document's ID for its source.

    Raises:
        DataError: a document cannot be ingested.
        SettingsError, StoreError, ModelError: as `ingest` would.
    """
    from phi3kit.ingest.reconcile import ingest
    from phi3kit.ingest.site import local_folder, site_of

    wanted = settings.ingest
    # Another embedder or chunking needs another collection, and both may be compared.
    key = sha256_bytes("\n".join((str(given.folder.resolve()), wanted.embedder,
                                  wanted.precision, str(wanted.chunk_tokens))).encode())[:12]
    collection = f"beir-{key}"
    # Beside the folder of the store, for what lies in that is not ingested.
    mirror = Path(f"{local_folder(site_of(wanted.store))}.beir") / key
    names = _mirror(given, mirror)
    inside = replace(settings, ingest=replace(
        wanted, corpus=(str(mirror),), collection=collection, prune=True))
    report = ingest(inside)
    if report.failed:
        failure = report.failed[0]
        name = names.get(PurePosixPath(failure.where).parent.name, failure.where)
        raise DataError(f"{len(report.failed)} documents cannot be ingested, such as '{name}' "
                        f"({failure.why})", where=str(given.folder / "corpus.jsonl"),
                        mend="Mend or take out its line")
    return inside, lambda source: names[PurePosixPath(source).parent.name]


def _mirror(given: Beir, folder: Path) -> dict[str, str]:
    """Write each document into a folder of its own: folder's name to the document's ID.

    The file's name is no words at all, for it would be embedded with documents without title.
    """
    names = {_folder_name(id_): id_ for id_ in given.documents}
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.name not in names:
            shutil.rmtree(old)
    for name, id_ in names.items():
        path = folder / name / "_.md"
        data = (given.documents[id_] + "\n").encode("utf-8", "replace")
        if not path.is_file() or path.read_bytes() != data:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
    return names


def _folder_name(id_: str) -> str:
    # The first letter keeps "." and hidden names out.
    name = "d" + quote(id_, safe="", errors="replace")
    return name if len(name) <= _LONGEST else "d" + sha256_bytes(name.encode())
