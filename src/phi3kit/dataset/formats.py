"""The formats that people have training examples in, each to the turns of a chat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from phi3kit.records import Message

Turns = list[Message]

KNOWN = ("Use messages; prompt and completion; instruction, input and output; conversations; "
         "or question and answer")


class BadExample(Exception):
    """Why one example cannot be used: the field, what is wrong, how to mend it."""


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        needs: fields that tell it.
        turns: an example to its chat; raises `BadExample`.
        may: other fields that it reads.
    """

    needs: frozenset[str]
    turns: Callable[[Mapping[str, Any]], Turns]
    may: frozenset[str] = frozenset()


def detect(value: Any) -> str | None:
    """The name of the format that a record's fields fit."""
    if not isinstance(value, Mapping):
        return None
    return next((name for name, form in FORMATS.items() if form.needs <= value.keys()), None)


def unread(value: Mapping[str, Any], name: str) -> Iterator[str]:
    """Fields of an example, and of its turns, that hold something and are not read."""
    form = FORMATS[name]
    yield from _others(value, form.needs | form.may | _EVERYWHERE)
    for field in form.needs:
        for turn in value[field] if isinstance(value[field], list) else ():
            for key in _others(turn, _OF_A_TURN):
                yield f"{field}.{key}"


def _others(value: Mapping[str, Any], known: frozenset[str]) -> list[str]:
    return [str(key) for key, held in value.items()
            if key and key not in known and held not in (None, "", [], {})]


def _text(value: Mapping[str, Any], field: str, *, what: str) -> str:
    text = value.get(field)
    if text is None:
        raise BadExample(f"{field}: {what} is missing. Fill it in or remove the example")
    if not isinstance(text, str):
        raise BadExample(f"{field}: not a text. Put it into quotes")
    return text


def _messages(value: Mapping[str, Any]) -> Turns:
    # Anthropic's format has the system message beside the turns.
    return _with_system(value, _chat(value["messages"], "messages", "role", "content", _ROLES))


def _sharegpt(value: Mapping[str, Any]) -> Turns:
    items = value["conversations"]
    renamed = isinstance(items, list) and any(isinstance(item, Mapping) and "from" not in item
                                              and "role" in item for item in items[:1])
    keys = ("role", "content") if renamed else ("from", "value")
    return _with_system(value, _chat(items, "conversations", *keys, _SHAREGPT_ROLES))


def _prompt_completion(value: Mapping[str, Any]) -> Turns:
    # Either side may be a text or a list of messages (TRL's conversational form).
    prompt, completion = value["prompt"], value["completion"]
    if isinstance(prompt, list) or isinstance(completion, list):
        if not (isinstance(prompt, list) and isinstance(completion, list)):
            raise BadExample("completion: one of prompt and completion is a list, the other is "
                             "not. Make both lists of messages or both texts")
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
        raise BadExample("input: not a text. Put it into quotes")
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
        raise BadExample(f"{field}: not a list of turns. "
                         f"Write [{{\"{role}\": …, \"{content}\": …}}]")
    turns: Turns = []
    for number, item in enumerate(items, start=1):
        if not isinstance(item, Mapping):
            raise BadExample(f"{field}: turn {number} is not an object. "
                             f"Write {{\"{role}\": …, \"{content}\": …}}")
        said = item.get(role)
        if not isinstance(said, str) or said.lower() not in roles:
            raise BadExample(f"{field}: turn {number} has the {role} {said!r}. "
                             f"Use one of: {', '.join(roles)}")
        if item.get("tool_calls") or item.get("function_call"):
            raise BadExample(f"{field}: turn {number} calls a tool, and text alone is trained. "
                             "Write the call as text, or remove the example")
        text = _said(item.get(content))
        if text is None:
            raise BadExample(f"{field}: turn {number} has no text in '{content}'. Fill it in")
        turn: Message = {"role": roles[said.lower()], "content": text}
        # OpenAI's chat format: an answer of weight 0 is context, and not to be learned.
        if turn["role"] == "assistant" and item.get("weight") is not None:
            if item["weight"] not in (0, 1):
                raise BadExample(f"{field}: turn {number} has the weight {item['weight']!r}. "
                                 "Use 0 or 1")
            turn["weight"] = int(item["weight"])
        turns.append(turn)
    return turns


def _said(content: Any) -> str | None:
    """A turn's text; of OpenAI's lists of parts only those that hold texts alone."""
    if isinstance(content, list) and content and all(
            isinstance(part, Mapping) and part.get("type") == "text"
            and isinstance(part.get("text"), str) for part in content):
        return "".join(part["text"] for part in content)
    return content if isinstance(content, str) else None


# "developer" is what newer models of OpenAI call it.
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_SHAREGPT_ROLES = {"system": "system", "human": "user", "user": "user",
                   "gpt": "assistant", "assistant": "assistant"}

# The first that fits an example's fields names its format.
FORMATS = {
    "messages": Format(frozenset({"messages"}), _messages, frozenset({"system"})),
    "ShareGPT": Format(frozenset({"conversations"}), _sharegpt, frozenset({"system"})),
    "prompt/completion": Format(frozenset({"prompt", "completion"}), _prompt_completion,
                                frozenset({"label"})),
    "Alpaca": Format(frozenset({"instruction", "output"}), _alpaca,
                     frozenset({"input", "system"})),
    "question/answer": Format(frozenset({"question", "answer"}), _question_answer),
}
# What any example may have beside its format's fields: read by `examples`, or for whoever keeps it.
_EVERYWHERE = frozenset({"source_ids", "source", "metadata", "kind", "id", "chunk_id",
                         "kto_tag"})
_OF_A_TURN = frozenset({"role", "content", "from", "value", "weight", "name"})
