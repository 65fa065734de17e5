"""Training examples from JSON, JSON Lines or CSV, in any of the formats people have them in.

One file, one format: the one that most of its examples have. An example that cannot be used
is reported by line and field, and the others go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi3kit.dataset.tables import Record, read_records
from phi3kit.errors import DataError
from phi3kit.files import sha256_file
from phi3kit.rag.prompt import question_in
from phi3kit.records import Failure, Message

Turns = list[Message]


@dataclass(frozen=True)
class Example:
    """A chat that ends with the answer to learn.

    Attributes:
        messages: at most one system message, first; then user and assistant in turn. Of the
            assistant's at least one is trained.
        line: 1-based line in the file, where the example begins.
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
    """What a file holds: its format, the usable examples and the others, its SHA-256."""

    format: str
    examples: tuple[Example, ...]
    failures: tuple[Failure, ...]
    sha256: str


class _Bad(Exception):
    """Why one example cannot be used: the field, what is wrong, how to mend it."""


def read_examples(path: Path) -> Examples:
    """Read every usable example of `path`.

    Raises:
        DataError: the file is missing, not UTF-8, not JSON, JSON Lines or CSV, holds no
            examples, or holds none in a known format.
    """
    records, failures = read_records(path)
    formats = [_detect(r.value) for r in records]
    counted = Counter(name for name in formats if name)
    if not counted:
        if failures and not any(isinstance(r.value, Mapping) for r in records):
            raise DataError(f"no usable example; the first: {failures[0].why}",
                            where=failures[0].where)
        raise DataError(_unknown(records), where=str(path),
                        mend=_inside(records) or _KNOWN)
    chosen = counted.most_common(1)[0][0]
    examples: list[Example] = []
    for record, name in zip(records, formats, strict=True):
        where = f"{path}:{record.line}"
        if not isinstance(record.value, Mapping):
            failures.append(Failure(where, "not an object. Write one {…} per example"))
        elif name is None:
            failures.append(Failure(where, f"no {chosen} example (its fields: "
                                           f"{', '.join(map(str, record.value))}). {_KNOWN}"))
        elif name != chosen:
            failures.append(Failure(where, f"a {name} example in a {chosen} file. Put it into "
                                           "a file of its own"))
        else:
            try:
                examples.append(_example(record, chosen))
            except _Bad as error:
                failures.append(Failure(where, str(error)))
    failures.sort(key=lambda f: int(f.where.rpartition(":")[2]))
    return Examples(chosen, tuple(examples), tuple(failures), sha256_file(path))


def _unknown(records: Sequence[Record]) -> str:
    for record in records:
        if isinstance(record.value, Mapping):
            return (f"no known example format (line {record.line} has the fields: "
                    f"{', '.join(map(str, record.value)) or 'none'})")
    return "no examples in it"


def _inside(records: Sequence[Record]) -> str | None:
    """What to do with a file that is one list in one line, or one object around the list."""
    if len(records) == 1 and isinstance(records[0].value, list):
        return "Write one {…} per line, or the list alone into a .json file"
    if len(records) == 1 and isinstance(records[0].value, Mapping):
        for name, value in records[0].value.items():
            if isinstance(value, list) and value and isinstance(value[0], Mapping):
                return f"Write the list under '{name}' alone: [{{…}}, {{…}}]"
    return None


def _example(record: Record, name: str) -> Example:
    turns = _FORMATS[name].turns(record.value)
    _check(turns)
    sources = _sources(record.value)
    kind = record.value.get("kind") or ""
    if not isinstance(kind, str):
        raise _Bad("kind: not a text. Write a label")
    return Example(tuple(turns), record.line, tuple(sources), kind)


def _sources(value: Mapping[str, Any]) -> Sequence[str]:
    """`source_ids`, else `source`, else those of `metadata`."""
    sources = value.get("source_ids") or ()
    if isinstance(sources, str):
        sources = [part.strip() for part in sources.split(";") if part.strip()]
    if not isinstance(sources, (list, tuple)) or not all(isinstance(s, str) for s in sources):
        raise _Bad("source_ids: not a list of texts. Write [\"handbook.md\"]")
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
        raise _Bad("messages: no user turn. Add the question and its answer")
    for index, turn in enumerate(chat):
        wanted = "assistant" if index % 2 else "user"
        if turn["role"] != wanted:
            raise _Bad(f"messages: turn {index + 1} is '{turn['role']}', expected '{wanted}'. "
                       "Let user and assistant alternate, the user first")
        if not turn["content"].strip():
            what = "answer" if wanted == "assistant" else "question"
            raise _Bad(f"{wanted}: empty {what}. Fill it in or remove the example")
    if len(chat) > 1 and not any(is_trained(turn) for turn in chat[1::2]):
        raise _Bad("weight: every answer has the weight 0. Give one the weight 1, or remove the "
                   "example")
    if len(chat) % 2:
        raise _Bad("assistant: the answer is missing. End with the assistant's turn")


# --- formats --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Format:
    needs: frozenset[str]
    turns: Callable[[Mapping[str, Any]], Turns]


def _detect(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return None
    return next((name for name, form in _FORMATS.items() if form.needs <= value.keys()), None)


def _text(value: Mapping[str, Any], field: str, *, what: str) -> str:
    text = value.get(field)
    if text is None:
        raise _Bad(f"{field}: {what} is missing. Fill it in or remove the example")
    if not isinstance(text, str):
        raise _Bad(f"{field}: not a text. Put it into quotes")
    return text


def _messages(value: Mapping[str, Any]) -> Turns:
    return _chat(value["messages"], "messages", "role", "content", _ROLES)


def _sharegpt(value: Mapping[str, Any]) -> Turns:
    turns = _chat(value["conversations"], "conversations", "from", "value", _SHAREGPT_ROLES)
    return _with_system(value, turns)


def _prompt_completion(value: Mapping[str, Any]) -> Turns:
    # Either side may be a text or a list of messages (TRL's conversational form).
    prompt, completion = value["prompt"], value["completion"]
    if isinstance(prompt, list) or isinstance(completion, list):
        if not (isinstance(prompt, list) and isinstance(completion, list)):
            raise _Bad("completion: one of prompt and completion is a list, the other is not. "
                       "Make both lists of messages or both texts")
        given = _chat(prompt, "prompt", "role", "content", _ROLES)
        for turn in given:  # TRL's loss is on the completion: what stands before it is context
            if turn["role"] == "assistant":
                turn.setdefault("weight", 0)
        return [*given, *_chat(completion, "completion", "role", "content", _ROLES)]
    return _pair(_text(value, "prompt", what="the prompt"),
                 _text(value, "completion", what="the answer"))


def _alpaca(value: Mapping[str, Any]) -> Turns:
    asked = _text(value, "instruction", what="the instruction")
    more = value.get("input")
    if more is not None and not isinstance(more, str):
        raise _Bad("input: not a text. Put it into quotes")
    if more and more.strip():
        asked = f"{asked}\n\n{more}"
    return _with_system(value, _pair(asked, _text(value, "output", what="the answer")))


def _question_answer(value: Mapping[str, Any]) -> Turns:
    return _pair(_text(value, "question", what="the question"),
                 _text(value, "answer", what="the answer"))


def _pair(asked: str, answer: str) -> Turns:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]


def _with_system(value: Mapping[str, Any], turns: Turns) -> Turns:
    system = value.get("system")
    if not system or (turns and turns[0]["role"] == "system"):
        return turns
    return [{"role": "system", "content": _text(value, "system", what="it")}, *turns]


def _chat(items: Any, field: str, role: str, content: str, roles: Mapping[str, str]) -> Turns:
    if not isinstance(items, list) or not items:
        raise _Bad(f"{field}: not a list of turns. Write [{{\"{role}\": …, \"{content}\": …}}]")
    turns: Turns = []
    for number, item in enumerate(items, start=1):
        if not isinstance(item, Mapping):
            raise _Bad(f"{field}: turn {number} is not an object. "
                       f"Write {{\"{role}\": …, \"{content}\": …}}")
        said = item.get(role)
        if not isinstance(said, str) or said.lower() not in roles:
            raise _Bad(f"{field}: turn {number} has the {role} {said!r}. "
                       f"Use one of: {', '.join(roles)}")
        text = item.get(content)
        if not isinstance(text, str):
            raise _Bad(f"{field}: turn {number} has no text in '{content}'. Fill it in")
        turn: Message = {"role": roles[said.lower()], "content": text}
        # OpenAI's chat format: an answer of weight 0 is context, and not to be learned.
        if turn["role"] == "assistant" and item.get("weight") is not None:
            if item["weight"] not in (0, 1):
                raise _Bad(f"{field}: turn {number} has the weight {item['weight']!r}. Use 0 or 1")
            turn["weight"] = int(item["weight"])
        turns.append(turn)
    return turns


_ROLES = {"system": "system", "user": "user", "assistant": "assistant"}
_SHAREGPT_ROLES = {"system": "system", "human": "user", "user": "user",
                   "gpt": "assistant", "assistant": "assistant"}

# The first that fits an example's fields names its format.
_FORMATS = {
    "messages": _Format(frozenset({"messages"}), _messages),
    "ShareGPT": _Format(frozenset({"conversations"}), _sharegpt),
    "prompt/completion": _Format(frozenset({"prompt", "completion"}), _prompt_completion),
    "Alpaca": _Format(frozenset({"instruction", "output"}), _alpaca),
    "question/answer": _Format(frozenset({"question", "answer"}), _question_answer),
}
_KNOWN = ("Use messages; prompt and completion; instruction, input and output; conversations; "
          "or question and answer")
