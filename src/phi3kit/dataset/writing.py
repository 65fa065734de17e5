"""How a model is asked for a question about a passage, and how its answer is read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from phi3kit.dataset.normal import normal
from phi3kit.rag import prompt
from phi3kit.records import Message, Passage

_INSTRUCTION = ("You write questions for an exam. Each question can be answered from the passage "
                "alone, makes sense to somebody who does not see the passage, and has a short "
                "answer that stands in the passage word for word.")
_TASK = ("Write one question about a fact in the passage, and its answer of at most ten words, in "
         "two lines:\nQuestion: …\nAnswer: …")
_OTHERS = "Ask something else than:"
# Small models keep to two lines when they have seen two lines, and seldom when they are told to.
_SHOWN = Passage(
    id="", text="The bakery in Mill Lane opens at 6:30. Its rye bread rests for 18 hours before "
    "it is baked.", source="bakery.md", start=0, end=0)
_WRITTEN = ("Question: How long does the rye bread of the bakery in Mill Lane rest?\n"
            "Answer: 18 hours")

_QUESTION = re.compile(r"^[\W\d]*question(?:\s*\d+)?\W*?:(.+)$", re.IGNORECASE | re.MULTILINE)
_ANSWER = re.compile(r"^[\W\d]*answer(?:\s*\d+)?\W*?:(.+)$", re.IGNORECASE | re.MULTILINE)
_QUOTED = re.compile(r'"[^"]+"|“[^”]+”')
# Who does not see the passage cannot tell what these mean.
_POINTS_AT_IT = re.compile(
    r"\b(?:this|the|above|given|following)\s+(?:passage|text|excerpt|paragraph)\b", re.IGNORECASE)
_LONGEST_QUESTION = 60  # words
_LONGEST_ANSWER = 25


def ask_for_pair(passage: Passage, known: Sequence[str] = ()) -> list[Message]:
    """The messages that ask for one question about `passage`.

    Args:
        known: questions about it that are there already.
    """
    lines = [_shown(passage), "", _TASK]
    if known:
        lines += [_OTHERS, *(f"- {question}" for question in known)]
    return [{"role": "system", "content": _INSTRUCTION},
            {"role": "user", "content": f"{_shown(_SHOWN)}\n\n{_TASK}"},
            {"role": "assistant", "content": _WRITTEN},
            {"role": "user", "content": "\n".join(lines)}]


def read_pair(text: str) -> tuple[str, str] | None:
    """Question and answer from what the model wrote; None when it holds no usable pair."""
    asked, answered = _QUESTION.search(text), _ANSWER.search(text)
    if not asked or not answered or answered.start() < asked.start():
        return None
    question, answer = _bare(asked.group(1)), _bare(answered.group(1))
    if (not question.endswith("?") or _POINTS_AT_IT.search(question)
            or prompt.is_abstention(answer) or not re.search(r"\w", answer)
            # "The class of the Osier is the class of the Osier."
            or set(normal(answer).split()) <= set(normal(question).split())
            or len(question.split()) > _LONGEST_QUESTION
            or len(answer.split()) > _LONGEST_ANSWER):
        return None
    return question, answer


def _shown(passage: Passage) -> str:
    """The passage as `ask` shows it: nothing in it can pass for our own lines."""
    return prompt.build("", [passage], instruction="")[1]["content"].split("\n\n")[0]


def _bare(text: str) -> str:
    """A line without the emphasis and the quotes that models put around it."""
    bare = text.strip().strip("*_").strip()
    return bare[1:-1].strip() if _QUOTED.fullmatch(bare) else bare
