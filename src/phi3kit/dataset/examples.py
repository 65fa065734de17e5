"""Training examples from JSON, JSON Lines or CSV, in any of the formats people have them in.

One file, one format: the one that most of its examples have. An example that cannot be used
is reported by line and field, and the others go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phi3kit.dataset.formats import FORMATS, KNOWN, BadExample, Turns, detect, unread
from phi3kit.dataset.preferences import PAIRS, marking, refuse_unwanted
from phi3kit.dataset.tables import Record, read_records
from phi3kit.errors import DataError
from phi3kit.files import sha256_file
from phi3kit.rag.prompt import question_in
from phi3kit.records import Failure, Message

_NAMED = 8  # fields that a note names


@dataclass(frozen=True)
class Example:
    """A chat that ends with the answer to learn.

    Attributes:
        messages: at most one system message, first; then user and assistant in turn. Of the
            assistant's at least one is trained.
        line: 1-based line in the file, where the example begins; `Record` tells of the arrays
            in which it is the example's place. No other example of the file has it.
        source_ids: documents that the answer comes from, as the file names them in
            `source_ids`, `source` or `metadata`.
        kind: the file's own label for the sort of task; "" if it gives none.
    """

    messages: tuple[Message, ...]
    line: int
    source_ids: tuple[str, ...] = ()
    kind: str = ""

    @property
    def question(self) -> str | None:
        """The user's only turn; None when there are several."""
        asked = [m["content"] for m in self.messages if m["role"] == "user"]
        return asked[0] if len(asked) == 1 else None

    @property
    def asked(self) -> list[str]:
        """What each of the user's turns asks, without the passages that `ask` would show."""
        return [question_in(m["content"]) or m["content"]
                for m in self.messages if m["role"] == "user"]

    @property
    def has_passages(self) -> bool:
        """Whether a turn of the user shows passages as `ask` does."""
        return any(m["role"] == "user" and question_in(m["content"]) is not None
                   for m in self.messages)

    @property
    def system(self) -> str | None:
        """The system message that the example brings itself."""
        first = self.messages[0]
        return first["content"] if first["role"] == "system" else None


@dataclass(frozen=True)
class Examples:
    """What a file holds: its format, the usable examples and the others, its SHA-256.

    Attributes:
        unread: fields that hold something and are no part of the format, with the number of
            usable examples that have them; those of turns as "messages.reasoning".
    """

    format: str
    examples: tuple[Example, ...]
    failures: tuple[Failure, ...]
    sha256: str
    unread: Mapping[str, int] = field(default_factory=dict)

    @property
    def told_unread(self) -> str:
        """`unread` in words; "" where all is read."""
        named = [f"'{name}' in {count:,}" for name, count in self.unread.items()]
        more = f" and {len(named) - _NAMED:,} more" if len(named) > _NAMED else ""
        return (f"fields that are not read, by examples: {', '.join(named[:_NAMED])}{more}"
                if named else "")


def read_examples(path: Path) -> Examples:
    """Read every usable example of `path`.

    Raises:
        DataError: the file is missing, not UTF-8, not JSON, JSON Lines or CSV, holds no
            examples, or holds none in a known format.
    """
    records, failures = read_records(path)
    formats = [detect(r.value) for r in records]
    counted = Counter(name for name in formats if name)
    if not counted:
        if failures and not any(isinstance(r.value, Mapping) for r in records):
            raise DataError(f"no usable example; the first: {failures[0].why}",
                            where=failures[0].where)
        raise DataError(_unknown(records), where=str(path),
                        mend=_inside(records) or KNOWN)
    chosen = counted.most_common(1)[0][0]
    marks = marking(record.value for record in records)
    examples: list[Example] = []
    others: Counter[str] = Counter()
    for record, name in zip(records, formats, strict=True):
        where = f"{path}:{record.line}"
        if not isinstance(record.value, Mapping):
            failures.append(Failure(where, "not an object. Write one {…} per example"))
        elif name is None:
            failures.append(Failure(where, f"no {chosen} example (its fields: "
                                           f"{', '.join(map(str, record.value))}). {KNOWN}"))
        elif name != chosen:
            failures.append(Failure(where, f"a {name} example in a {chosen} file. Put it into "
                                           "a file of its own"))
        else:
            try:
                refuse_unwanted(record.value, marks)
                examples.append(_example(record, chosen))
                others.update(set(unread(record.value, chosen)) - set(marks))
            except BadExample as error:
                failures.append(Failure(where, str(error)))
    failures.sort(key=lambda f: int(f.where.rpartition(":")[2]))
    return Examples(chosen, tuple(examples), tuple(failures), sha256_file(path),
                    dict(sorted(others.items())))


def _unknown(records: Sequence[Record]) -> str:
    for record in records:
        if isinstance(record.value, Mapping):
            return (f"no known example format (line {record.line} has the fields: "
                    f"{', '.join(map(str, record.value)) or 'none'})")
    return "no examples in it"


def _inside(records: Sequence[Record]) -> str | None:
    """What to do with preferences, one list in one line, or one object around the list."""
    if records and isinstance(records[0].value, Mapping) and (
            {"chosen", "rejected"} <= records[0].value.keys()):
        return PAIRS
    if len(records) == 1 and isinstance(records[0].value, list):
        return "Write one {…} per line, or the list alone into a .json file"
    if len(records) == 1 and isinstance(records[0].value, Mapping):
        for name, value in records[0].value.items():
            if isinstance(value, list) and value and isinstance(value[0], Mapping):
                return f"Write the list under '{name}' alone: [{{…}}, {{…}}]"
    return None


def _example(record: Record, name: str) -> Example:
    turns = FORMATS[name].turns(record.value)
    _check(turns)
    sources = _sources(record.value)
    kind = record.value.get("kind") or ""
    if not isinstance(kind, str):
        raise BadExample("kind: not a text. Write a label")
    return Example(tuple(turns), record.line, tuple(sources), kind)


def _sources(value: Mapping[str, Any]) -> Sequence[str]:
    """`source_ids`, else `source`, else those of `metadata`."""
    sources = value.get("source_ids") or ()
    if isinstance(sources, str):
        sources = [part.strip() for part in sources.split(";") if part.strip()]
    if not isinstance(sources, (list, tuple)) or not all(isinstance(s, str) for s in sources):
        raise BadExample("source_ids: not a list of texts. Write [\"handbook.md\"]")
    if sources:
        return sources
    source, metadata = value.get("source"), value.get("metadata")
    if isinstance(source, str) and source.strip():
        return [source.strip()]
    # Below these names other things stand in other people's files: no reason to refuse them.
    return _sources({k: v for k, v in metadata.items() if k == "source" or (
        k == "source_ids" and isinstance(v, list) and all(isinstance(s, str) for s in v))}
    ) if isinstance(metadata, Mapping) else ()


def is_trained(turn: Message) -> bool:
    """Whether an assistant's turn carries loss."""
    return turn.get("weight", 1) != 0


def _check(turns: Turns) -> None:
    """Refuse what no chat template takes or what would teach nothing."""
    chat = turns[1:] if turns and turns[0]["role"] == "system" else turns
    if not chat:
        raise BadExample("messages: no user turn. Add the question and its answer")
    for index, turn in enumerate(chat):
        wanted = "assistant" if index % 2 else "user"
        if turn["role"] != wanted:
            raise BadExample(f"messages: turn {index + 1} is '{turn['role']}', expected "
                             f"'{wanted}'. Let user and assistant alternate, the user first")
        if not turn["content"].strip():
            what = "answer" if wanted == "assistant" else "question"
            raise BadExample(f"{wanted}: empty {what}. Fill it in or remove the example")
    if len(chat) > 1 and not any(is_trained(turn) for turn in chat[1::2]):
        raise BadExample("weight: every answer has the weight 0. Give one the weight 1, or remove "
                         "the example")
    if len(chat) % 2:
        raise BadExample("assistant: the answer is missing. End with the assistant's turn")
