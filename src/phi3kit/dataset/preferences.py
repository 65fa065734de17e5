"""Answers that their file marks as not wanted: data for preferences, of which none is trained on.

TRL's unpaired preferences have a `label` beside prompt and completion, LLaMA-Factory's a `kto_tag`;
pairs have `chosen` beside `rejected`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from phi3kit.dataset.formats import BadExample

PAIRS = ("These are preferences, which are not trained on: write what is in 'chosen' as "
         "completion beside its prompt, or as messages, and leave 'rejected' out")

_WORDS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
_ANSWERS = ("completion", "output", "answer", "messages", "conversations")


def wanted(mark: Any) -> bool | None:
    """What a field says of the answer beside it; None where it says neither yes nor no."""
    return _WORDS.get(str(mark).strip().casefold())


def marking(values: Iterable[Any]) -> tuple[str, ...]:
    """Of "label" and "kto_tag" those that tell in this file whether an answer is wanted.

    `kto_tag` has no other meaning. A `label` has many: it tells of wanted answers where every
    example that has one has true or false, or 1 or 0. "urgent" or 2 in one place makes all of them
    classes. Classes that are numbered 0 and 1 are told by their answers: each number stands beside
    one answer alone, and more than once, as in no file of free answers.

    Args:
        values: all records of the file.
    """
    labelled = [value for value in values if isinstance(value, Mapping)
                and value.get("label") not in (None, "")]
    boolean = all(wanted(value["label"]) is not None for value in labelled)
    return ("kto_tag", "label") if boolean and not _numbered_classes(labelled) else ("kto_tag",)


def _numbered_classes(labelled: Sequence[Mapping[str, Any]]) -> bool:
    answers: defaultdict[bool | None, list[str]] = defaultdict(list)
    for value in labelled:
        if str(value["label"]).strip().casefold() in ("true", "false"):
            return False
        answers[wanted(value["label"])].append(_answer(value))
    kinds = [set(given) for given in answers.values()]
    return (len(kinds) == 2 and kinds[0] != kinds[1] and all(len(kind) == 1 for kind in kinds)
            and all(len(given) > 1 for given in answers.values()))


def _answer(value: Mapping[str, Any]) -> str:
    given = next((value[name] for name in _ANSWERS if name in value), None)
    return str(given[-1] if isinstance(given, list) and given else given)


def refuse_unwanted(value: Mapping[str, Any], marks: Sequence[str]) -> None:
    """Refuse an example whose answer is not wanted, or which has a better and a worse one.

    Args:
        value: the example.
        marks: of its file, as `marking` gives them.

    Raises:
        BadExample: it is one of these.
    """
    # Some sets have the chosen chat as messages too, to be trained on as it is.
    if {"chosen", "rejected"} <= value.keys() and value.get("messages") != value["chosen"]:
        raise BadExample(f"chosen: stands beside rejected. {PAIRS}")
    for name in marks:
        if wanted(value.get(name)) is False:
            mark = value[name]
            told = mark if isinstance(mark, str) else json.dumps(mark)
            raise BadExample(f"{name}: {told}, so this answer is one that is not wanted. Remove "
                             "the example, or rename the field if it means something else")
