"""The prompt: closed book, or with numbered passages. One form for asking and for training."""

from __future__ import annotations

import re
from collections.abc import Sequence

from phi3kit.records import Message, Passage

ABSTENTION = "I do not know."

# Short, for small models lose long instructions; the question comes last, for they answer
# what they read last.
_OPENING = "Passages:"
_TASK = "Answer briefly from the passages only, citing their numbers, or say: I do not know."
_QUESTION = "Question:"
_ANSWER = "Answer:"

# [3], [ 3 ], [1, 2]: what a citation and the number of a passage look like. After a word
# character it is an index (`rows[0]`), which changes nothing in the list of passages.
_NUMBERED = re.compile(r"(?<!\w)\[(\s*\d[\d\s,;]*)\]")
_FRAME_LINE = re.compile(r"^(?=\s*(?:passages?|questions?|answers?)\s*:)",
                         re.IGNORECASE | re.MULTILINE)

_THE_ANSWER = r"the\s+answer(?:\s+to\s+(?:this|the|your)\s+question)?(?:\s+is)?:?\s+"
_SHOWN = (r"(?:given\s+|provided\s+)?(?:passages?|texts?|documents?|context)"
          r"(?:\s+(?:provided|given|above))?")
_SORRY = (rf"(?:(?:based\s+on|according\s+to|from)\s+(?:the|these)\s+{_SHOWN},?\s+"
          rf"|(?:(?:i\s+am|i'm)?\s*sorry|unfortunately),?\s+(?:but\s+)?|{_THE_ANSWER}){{0,2}}")
# "The passage does not give a limit for X but 14 days for Y" answers.
_NO_ANSWER_FOLLOWS = r"(?![^.!?\n]*\b(?:but|only|except|until|unless)\b)"
_ABSTAINS = re.compile(
    rf"{_SORRY}(?:"
    r"i\s+(?:really\s+|just\s+)?(?:do\s+not|don'?t)\s+know"
    rf"|(?:the|these)\s+{_SHOWN}\s+"
    r"(?:do|does)(?:\s+not|n'?t)\s+(?:say|hold|contain|mention|provide|specify|answer)"
    rf"|(?:(?:the|these)\s+{_SHOWN}\s+(?:do|does)(?:\s+not|n'?t)\s+(?:give|state|tell|indicate)"
    r"|(?:no|none\s+of\s+the)\s+passages?\s+(?:says?|mentions?|gives?|states?|tells?)"
    r"|i\s+(?:can\s?not|can't|am\s+(?:not\s+able|unable)\s+to)\s+(?:answer|tell|say)"
    r"|i\s+(?:do\s+not|don'?t)\s+have\s+(?:enough|sufficient|any)\s+(?:information|context)"
    r"|there\s+(?:is|'s)\s+(?:no|not\s+enough)\s+information"
    rf"(?=\s+(?:about|on|regarding)\b|\s+in\s+(?:the|these)\s+{_SHOWN}|\s*(?:[.!]|\Z)))"
    rf"\b{_NO_ANSWER_FOLLOWS})\b"
    rf"|{_THE_ANSWER}(?:unknown|not\s+(?:known|available|given|provided))\b",
    re.IGNORECASE)


def build(
    question: str, passages: Sequence[Passage] | None, *, instruction: str,
) -> list[Message]:
    """The messages that ask `question`.

    Args:
        question: the user's question, as typed.
        passages: what was retrieved, best first, to be cited as [1], [2], …; None asks
            closed book. An empty sequence has no prompt: the answer is `ABSTENTION`.
        instruction: the system message.

    Returns:
        A system and a user message. Control tokens of a chat template that stand in the
        contents are left for `models.chat` to neutralise: only it knows the tokenizer.
    """
    if passages is None:
        content = question.strip()
    elif not passages:
        raise ValueError("no passages: abstain instead of asking")
    else:
        blocks = (f"[{number}] ({_label(passage)}) {_as_data(passage.text)}"
                  for number, passage in enumerate(passages, start=1))
        content = "\n".join((_OPENING, *blocks, "", _TASK,
                             f"{_QUESTION} {question.strip()}", _ANSWER))
    return [{"role": "system", "content": instruction}, {"role": "user", "content": content}]


def question_in(content: str) -> str | None:
    """The question of a user message that `build` made with passages; None of any other."""
    if not content.startswith(f"{_OPENING}\n[1] ") or not content.endswith(f"\n{_ANSWER}"):
        return None
    _, found, question = content.removesuffix(f"\n{_ANSWER}").rpartition(f"\n{_QUESTION} ")
    return question if found else None


def is_abstention(text: str) -> bool:
    """Whether an answer begins by saying that it does not know.

    "I don't know", "Sorry, I do not know" and "The passages do not say" count; an answer
    that says so only after having answered does not.
    """
    return _ABSTAINS.match(text.replace("’", "'").lstrip(" \t\n\"'*-")) is not None


def _label(passage: Passage) -> str:
    """File, page and heading on one line, for little: no folders, no heading that the text has."""
    parts = [passage.source.rpartition("/")[2]]
    if passage.page is not None:
        parts.append(f"p. {passage.page}")
    unseen = [part for part in passage.heading.split(" > ") if part not in passage.text]
    if unseen:
        parts.append(" > ".join(unseen))
    return _as_data(" ".join(", ".join(parts).split()))


def _as_data(text: str) -> str:
    """A passage's text such that it cannot pass for a part of the prompt's frame.

    [3] becomes (3), and a line that begins like ours ("Question: …") is quoted. Every kind
    of line break becomes a line feed, so that no other one hides the start of a line.
    """
    text = "\n".join(line.rstrip() for line in text.splitlines() if line.strip())
    return _FRAME_LINE.sub("> ", _NUMBERED.sub(r"(\1)", text))
