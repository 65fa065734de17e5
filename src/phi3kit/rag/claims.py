"""What an answer says that no cited passage says: its quotes, its numbers and its names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise

from phi3kit.rag.prompt import is_abstention
from phi3kit.records import Passage, Unsupported

_CITATION = re.compile(r"\[[\s0-9,;]{1,60}\]")
# Between marks of quotation or backticks, on one line; a single letter is no quote.
_QUOTE = re.compile(r"“([^“”\n]{2,400})”|\"([^\"\n]{2,400})\"|«([^«»\n]{2,400})»|`([^`\n]{2,400})`")
# Digits with all that hangs together with them; of these a number, alone or with its unit:
# 1,200.50, 14-day, 24V, 10–14. The digits of TB-31 are none.
_DIGITS = re.compile(r"(?<![\w.,])\d[\w.,]*(?:-[^\W\d_]+)?(?<![.,])")
_MEASURE = re.compile(r"(\d+(?:[.,]\d+)*)(?:-?[^\W\d_]{1,12})?\Z")
# The number of a list's item is nothing that was said.
_ITEM = re.compile(r"^\s*\d{1,3}[.)]\s", re.MULTILINE)
# Letters and digits in one word, with its hyphens: TB-31, K-310, 24V, max_depth, parseURL.
_WORD = re.compile(r"[^\W_]+(?:[-_./'’][^\W_]+)*", re.UNICODE)
_SENTENCE = re.compile(r"(?:\A|[.!?:]\s|\n)[\s\"'“”‘’(*#-]*")
# Where one sentence of an answer ends and the next begins; a citation belongs to what it follows.
_BETWEEN = re.compile(r"[.!?]\s+(?!\[)|\n+")
_COUNTED = re.compile(r"[\s-]{0,2}([^\W\d_]{1,20})")
_NO_UNITS = frozenset(("", "a", "an", "and", "are", "at", "by", "for", "from", "in", "is", "of",
                       "on", "or", "per", "the", "to", "wa", "with"))
_SPOKEN = {
    "zero": 0, "one": 1, "once": 1, "two": 2, "twice": 2, "three": 3, "four": 4, "five": 5,
    "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
    "dozen": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17,
    "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50,
    "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "hundred": 100}


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What a sentence of an answer is held against.

    Attributes:
        end: where the sentence ends in the answer.
        cited: the text of the passages that it cites, of all where it cites none.
        question: what may be repeated; not for a number in place of the passages' own.
        strict: whether the sentence cites passages itself.
    """

    end: int
    cited: str
    question: str
    strict: bool

    @property
    def text(self) -> str:
        return f"{self.question}\n{self.cited}"


def unsupported(text: str, passages: Mapping[int, Passage], question: str,
                ) -> tuple[Unsupported, ...]:
    """Claims of an answer that stand neither in `passages` nor in the question.

    A sentence is held against the passages that it cites itself; one that cites none, against
    all of them.

    - A quote, or code between backticks: its words, in upper or lower case, in one piece.
    - A number: its value, however it is written (1,200 and 1200; 3.50 and 3.5; a passage's
      "fourteen" for 14). A number that the answer computes is in no passage and is told too;
      so is one of the question where the cited passages give others of the same unit.
    - A name: a capitalised word that does not begin its sentence, an acronym, or a word of
      letters and digits (a part number).

    What an answer says in other words than these is not judged.

    Args:
        text: the answer.
        passages: those that it cites, by the numbers of its citations.
        question: what stands in it is mostly no claim of the answer.

    Returns:
        Each claim once, in order of appearance.
    """
    if is_abstention(text):
        return ()
    # Blanks of equal length, so that places in the text stay what they are.
    said = _CITATION.sub(lambda m: " " * len(m.group()), text)
    evidence = _by_sentence(text, passages, question)
    found: dict[tuple[str, str], Unsupported] = {}
    for claim in sorted((*_quotes(said, evidence), *_numbers(said, evidence),
                         *_names(said, evidence)), key=lambda claim: claim.start):
        found.setdefault((claim.kind, claim.text.casefold()), claim)
    return tuple(found.values())


def _by_sentence(text: str, passages: Mapping[int, Passage], question: str) -> list[_Evidence]:
    whole = "\n".join(f"{p.heading}\n{p.text}" for p in passages.values())
    found = []
    at = 0
    for end in (*(match.end() for match in _BETWEEN.finditer(text)), len(text)):
        numbers = {int(number) for citation in _CITATION.findall(text[at:end])
                   for number in re.findall(r"[0-9]+", citation)} & passages.keys()
        cited = "\n".join(f"{passages[n].heading}\n{passages[n].text}" for n in sorted(numbers))
        found.append(_Evidence(end, cited or whole, question, bool(numbers)))
        at = end
    return found


def _at(evidence: Sequence[_Evidence], place: int) -> _Evidence:
    return next(one for one in evidence if place < one.end)


def _quotes(said: str, evidence: Sequence[_Evidence]) -> Iterator[Unsupported]:
    for match in _QUOTE.finditer(said):
        quote = next(group for group in match.groups() if group is not None)
        words = _folded(quote.strip(" .,;:!?…"))
        if words and words not in _folded(_at(evidence, match.start()).text):
            yield Unsupported(quote, "quote", match.start() + 1, match.end() - 1)


def _numbers(said: str, evidence: Sequence[_Evidence]) -> Iterator[Unsupported]:
    items = {match.start() + len(match.group()) - len(match.group().lstrip())
             for match in _ITEM.finditer(said)}
    named = {at for word in _WORD.finditer(said) if _is_name(word.group(), first=True)
             for at in range(*word.span())}
    for word in _DIGITS.finditer(said):
        match = _MEASURE.match(word.group())
        if match is None or word.start() in named or word.start() in items:
            continue
        held, readings = _at(evidence, word.start()), _readings(match[1])
        if readings & _values(held.cited):
            continue
        unit = _unit(said, word.start() + len(match[1]))
        if readings & _values(held.question) and not (
                held.strict and unit in _units(held.cited)):
            continue
        yield Unsupported(match[1], "number", word.start(), word.start() + len(match[1]))


def _names(said: str, evidence: Sequence[_Evidence]) -> Iterator[Unsupported]:
    begins = {match.end() for match in _SENTENCE.finditer(said)}
    for match in _WORD.finditer(said):
        if _is_name(match.group(), first=match.start() in begins) and not _held(
                match.group(), _words(_at(evidence, match.start()).text)):
            yield Unsupported(match.group(), "name", match.start(), match.end())


def _is_name(word: str, *, first: bool) -> bool:
    """Whether a word names something; `first`: it begins a sentence, as any word may."""
    letters = [c for c in word if c.isalpha()]
    if not letters:
        return False
    if "_" in word or (any(c.isdigit() for c in word) and not _MEASURE.fullmatch(word)):
        return True
    if len(letters) > 1 and all(c.isupper() for c in letters):
        return True
    if any(a.islower() and b.isupper() for a, b in pairwise(word)):
        return True
    return _capital(word) and len(word) > 1 and not first


def _capital(word: str) -> bool:
    return word[0].isupper() and word not in ("I", "A")


def _held(word: str, there: frozenset[str]) -> bool:
    """Whether the word stands there, whole, as a plural or possessive, or in its parts."""
    own = word.casefold().replace("’", "'")
    forms = {own, own.removesuffix("'s"), own.removesuffix("s"), f"{own}s"}
    if forms & there:
        return True
    parts = re.split(r"[-_./']", own)
    # A part number is one thing: TB-31 is not held by a TB-30 and some 31.
    return len(parts) > 1 and not any(c.isdigit() for c in own) and set(parts) <= there


@lru_cache(maxsize=64)
def _words(text: str) -> frozenset[str]:
    found = set()
    for match in _WORD.finditer(text.casefold().replace("’", "'")):
        word = match.group()
        found |= {word, word.removesuffix("'s")}
        if not any(c.isdigit() for c in word):
            found |= set(re.split(r"[-_./']", word))
    return frozenset(found)


@lru_cache(maxsize=64)
def _values(text: str) -> frozenset[str]:
    found: set[str] = set()
    for match in re.finditer(r"\d+(?:[.,]\d+)*", text):
        found |= _readings(match.group())
    for match in _WORD.finditer(text.casefold()):
        tens, _, units = match.group().partition("-")  # twenty-one
        if tens in _SPOKEN:
            found.add(str(_SPOKEN[tens] + _SPOKEN.get(units, 0)))
    return frozenset(found)


def _unit(text: str, end: int) -> str:
    """The word after a number that ends at `end`, as `_units` has it; "" if there is none."""
    match = _COUNTED.match(text, end)
    return match[1].casefold().removesuffix("s") if match else ""


@lru_cache(maxsize=64)
def _units(text: str) -> frozenset[str]:
    """What is counted in a text: the words that follow its numbers, in the singular."""
    ends = [match.end() for match in re.finditer(r"\d+(?:[.,]\d+)*", text)]
    ends += [match.end() for match in _WORD.finditer(text)
             if match.group().casefold().partition("-")[0] in _SPOKEN]
    return frozenset(_unit(text, end) for end in ends) - _NO_UNITS


def _readings(number: str) -> set[str]:
    """The values that a number may have: 1,200 is 1200 in English and 1.2 in German.

    What is no value in either, such as a date or a version, stands for itself.
    """
    found = set()
    for thousands, point in ((",", "."), (".", ",")):
        whole, _, part = number.partition(point)
        groups = whole.split(thousands)
        if not (point in part or thousands in part or any(len(g) != 3 for g in groups[1:])):
            value = Decimal(f"{''.join(groups)}.{part or '0'}")
            found.add(f"{value.normalize():f}")
    return found or {number}


@lru_cache(maxsize=64)
def _folded(text: str) -> str:
    """Case, white space and the shape of quotation marks and dashes put aside."""
    plain = text.casefold().translate(str.maketrans("“”„«»‘’`–—", "\"\"\"\"\"'''--"))
    return " ".join(plain.split())
