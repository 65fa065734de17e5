"""The form of the answers: labels, JSON, calls, codes, templates, or free text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

from phi3kit.dataset.normal import normal
from phi3kit.dataset.pairs import Pair
from phi3kit.parsing import unfenced, whole_json

LABEL_WORDS = 8
_LABEL_SEEN = 3  # requests with the same answer
_COMMON = 0.1  # of the answers: what is no accident
_CLOSED_WORDS = 12
_REPEATED = 0.3
_VOCABULARY_SEEN = 3  # answers with the same word
# Words that answer a question as well as they label a text.
_BARE = frozenset({"yes", "no", "true", "false", "maybe", "unknown", "none", *"abcdef",
                   *map(str, range(11))})
_CALL = re.compile(r"^([A-Za-z_][\w.]*)\(.*\)\s*;?$", re.DOTALL)
_QUERY = re.compile(
    r"^(?:select\b.*\bfrom\b|insert\s+into\b|update\s+\S+\s+set\b|delete\s+from\b"
    r"|with\s+\w+\s+as\s*\(|(?:optional\s+)?match\s*\().*[^.?!]$", re.IGNORECASE | re.DOTALL)
# What separates the parts of a filled-in line, and what begins the lines of a form.
_MARK = re.compile(r"^#{1,6} .*$|^[^\s:][^:\n]{0,30}:(?=\s|$)|^\s*(?:[-*•]|\d+[.)])\s"
                   r"|\s(?:/|\||->|=>|→|::|;)\s|\t", re.MULTILINE)
_LIST = re.compile(r"^\s*(?:[-*•]|9[.)])\s$")
_CODE = re.compile(r"[A-Za-z0-9]+(?:[-./_:#][A-Za-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Form:
    """An answer's form.

    Attributes:
        name: "abstention", "label", "JSON", "call", "query", "code", "template" or "free".
        closed: the answer comes from a fixed set or a small grammar.
        bare: a label like "yes" or "B", which says nothing about what it is decided from.
    """

    name: str
    closed: bool
    bare: bool = False

    @property
    def strict(self) -> bool:
        """Whether a program could tell a right form from a wrong one."""
        return self.name not in ("abstention", "free")


FREE = Form("free", False)
ABSTENTION = Form("abstention", False)


@dataclass(frozen=True)
class Forms:
    """The forms of all answers, in the order of the pairs."""

    pairs: tuple[Pair, ...]
    of: tuple[Form, ...]

    @cached_property
    def counts(self) -> Counter[str]:
        """Answers by form."""
        return Counter(form.name for form in self.of)

    @cached_property
    def spoken(self) -> tuple[tuple[Pair, Form], ...]:
        """All but those that say that they do not know."""
        return tuple((pair, form) for pair, form in zip(self.pairs, self.of, strict=True)
                     if form is not ABSTENTION)

    @cached_property
    def labels(self) -> int:
        """How many different labels there are."""
        return len({normal(pair.answer) for pair, form in self.spoken if form.name == "label"})

    @property
    def words(self) -> float:
        """The answers' median length in words; 0 when there are none."""
        return median([len(pair.answer.split()) for pair, _ in self.spoken] or [0])

    @property
    def told(self) -> str:
        """The counts in words."""
        parts = []
        for name, count in sorted(self.counts.items(), key=lambda item: (-item[1], item[0])):
            more = f" ({self.labels} different)" if name == "label" else ""
            parts.append(f"{count:,} {_SAID[name]}{more}")
        return f"of {len(self.pairs):,} answers " + ", ".join(parts)


_SAID = {"abstention": "say that they do not know", "label": "are labels", "JSON": "are JSON "
         "with the same keys", "call": "are calls", "query": "are queries", "code": "are codes",
         "template": "fill in a template", "free": "are free text"}


def read_forms(pairs: Sequence[Pair]) -> Forms:
    """Find each answer's form; what is regular is judged against the other answers.

    - label: at most 8 words, and the answer to at least 3 requests; if half of the answers
      are labels, then also those seen twice
    - JSON: an object, or a list of objects, without a key that fewer than 10% of the JSON
      answers have; closed, if its texts are short (median of at most 5 words)
    - call: `name(…)`, if half of the answers are such, or at least 3 with that name; closed
    - query: SQL or Cypher; closed
    - code: one token with digits and letters or separators, or digits alone, of a shape
      that 10% of all answers share ("AA-9", "999999"); closed, if 30% of them are given
      more than once
    - template: the same separators, line heads and headings as 10% of the answers, or a code
      of such a shape at the end; closed, if the answer has at most 12 words and each of
      its words stands in at least 2 other answers
    """
    from phi3kit.rag.prompt import is_abstention

    answers = [pair.answer for pair in pairs]
    of: list[Form | None] = [ABSTENTION if is_abstention(text) else None for text in answers]
    for find in (_json, _calls, _labels, _codes, _templates):
        rest = [at for at, form in enumerate(of) if form is None]
        for at, form in zip(rest, find([answers[at] for at in rest], len(answers)), strict=True):
            of[at] = form
    return Forms(tuple(pairs), tuple(form or FREE for form in of))


def _labels(answers: Sequence[str], total: int) -> list[Form | None]:
    texts = [normal(text) if len(text.split()) <= LABEL_WORDS else "" for text in answers]
    seen = Counter(text for text in texts if text)
    often = sum(count for count in seen.values() if count >= _LABEL_SEEN)
    least = 2 if often >= 0.5 * len(answers) else _LABEL_SEEN
    return [Form("label", True, text in _BARE) if text and seen[text] >= least else None
            for text in texts]


def _json(answers: Sequence[str], total: int) -> list[Form | None]:
    values = [whole_json(text) for text in answers]
    seen = Counter(key for value in values if value is not None for key in _keys(value))
    least = max(2, _COMMON * sum(value is not None for value in values))
    lengths = [len(leaf.split()) for value in values if value is not None
               for leaf in leaves(value)]
    closed = median(lengths or [0]) <= 5
    return [Form("JSON", closed) if value is not None and _keys(value)
            and all(seen[key] >= least for key in _keys(value)) else None for value in values]


def leaves(value: Any) -> list[str]:
    """The texts and numbers at the ends of a JSON value, as text, in its order."""
    found, left = [], [value]
    while left:  # no recursion, for JSON nests deeper than Python calls
        value = left.pop()
        if isinstance(value, dict):
            left.extend(reversed(value.values()))
        elif isinstance(value, list):
            left.extend(reversed(value))
        elif value is not None and not isinstance(value, bool):
            found.append(str(value))
    return found


def _keys(value: Any) -> frozenset[str]:
    if isinstance(value, dict):
        return frozenset(value)
    if all(isinstance(item, dict) for item in value):
        return frozenset(key for item in value for key in item)
    return frozenset()


def _calls(answers: Sequence[str], total: int) -> list[Form | None]:
    bodies = [unfenced(text) for text in answers]
    called = [_CALL.match(body) for body in bodies]
    seen = Counter(match.group(1) for match in called if match)
    least = 1 if 2 * sum(seen.values()) >= len(answers) else _LABEL_SEEN
    return [Form("call", True) if match and seen[match.group(1)] >= least
            else Form("query", True) if _QUERY.match(body) else None
            for body, match in zip(bodies, called, strict=True)]


def _codes(answers: Sequence[str], total: int) -> list[Form | None]:
    shapes = [_shape(text) for text in answers]
    common = _common(shapes, max(5, _COMMON * total))
    seen = Counter(text for text, fits in zip(answers, common, strict=True) if fits)
    repeated = sum(count for count in seen.values() if count > 1)
    closed = repeated >= _REPEATED * sum(seen.values())
    return [Form("code", closed) if fits else None for fits in common]


def _templates(answers: Sequence[str], total: int) -> list[Form | None]:
    least = max(5, _COMMON * total)
    marked = _common([_skeleton(text) for text in answers], least)
    ended = _common([_ending(text) for text in answers], least)
    regular = [either or other for either, other in zip(marked, ended, strict=True)]
    words = [set(normal(text).split()) for text in answers]
    seen = Counter(word for at, found in enumerate(words) if regular[at] for word in found)
    return [Form("template", len(text.split()) <= _CLOSED_WORDS
                 and all(seen[word] >= _VOCABULARY_SEEN for word in found)) if fits else None
            for text, found, fits in zip(answers, words, regular, strict=True)]


def _common(shapes: Sequence[str], least: float) -> list[bool]:
    seen = Counter(shape for shape in shapes if shape)
    return [bool(shape) and seen[shape] >= least for shape in shapes]


def _shape(text: str) -> str:
    """A code's runs of letters and digits; "" for words, and for numbers below 1,000."""
    text = text.strip(" .[]()")
    if not _CODE.fullmatch(text) or not any(c.isdigit() for c in text):
        return ""
    if text.isdigit():
        return "9" * len(text) if len(text) > 3 else ""
    letters = re.sub(r"[a-z]+", "a", re.sub(r"[A-Z]+", "A", text))
    shape = re.sub(r"\d+", "9", letters)
    return shape if re.search(r"[Aa]", shape) or shape.count("9") > 2 else ""


def _ending(text: str) -> str:
    shape = _shape(text.split()[-1]) if len(text.split()) > 1 else ""
    return shape if "A" in shape else ""


def _skeleton(text: str) -> str:
    """Separators, line heads and headings in their order, numbers masked.

    Runs of list items count as one.
    """
    marks: list[str] = []
    for match in _MARK.finditer(text):
        found = re.sub(r"\d+", "9", match.group())
        mark = "-" if _LIST.match(found) else found.strip(" ") or "\t"
        if not marks or marks[-1] != mark or mark != "-":
            marks.append(mark)
    return "\n".join(marks) if set(marks) - {"-"} else ""


def shared_lengths(pairs: Sequence[Pair]) -> float:
    """The share of answers that are at least half and at most twice as long as the median."""
    lengths = [len(pair.answer.split()) for pair in pairs]
    middle = median(lengths or [0])
    return sum(middle / 2 <= length <= middle * 2 for length in lengths) / max(1, len(lengths))
