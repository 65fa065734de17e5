"""What an answer says that no cited passage says: its quotes, its numbers and its names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from phi3kit.rag.dates import dates
from phi3kit.rag.evidence import FUNCTION_WORDS
from phi3kit.rag.prompt import is_abstention
from phi3kit.rag.values import NUMBER, WORD, holds, is_signed, unit, units, values
from phi3kit.records import Passage, Unsupported

_CITATION = re.compile(r"\[[\s0-9,;]{1,60}\]")
# Between marks of quotation or backticks, on one line; a single letter is no quote.
_QUOTE = re.compile(r"“([^“”\n]{2,400})”|\"([^\"\n]{2,400})\"|«([^«»\n]{2,400})»|`([^`\n]{2,400})`")
# Digits with all that hangs together with them; of these a number, alone or with its unit:
# 1,200.50, 14-day, 24V, 10–14. The digits of TB-31 are none.
_DIGITS = re.compile(rf"(?<![\w.,]){NUMBER}[\w.,]*(?:-[^\W\d_]+)?(?<![.,])")
_MEASURE = re.compile(rf"({NUMBER})(?:-?[^\W\d_]{{1,12}})?\Z")
# The number of a list's item is nothing that was said.
_ITEM = re.compile(r"^\s*\d{1,3}[.)]\s", re.MULTILINE)
# I, I'm, I’d; an A that begins a quote.
_NO_NAME = re.compile("I(?:['’][a-z]+)?|A")
# Where any word may begin with a capital: a sentence, a list's item, a cell, what follows a dash.
_SENTENCE = re.compile(
    r"(?:\A|[.!?:;][\"'”’)\]*_]*\s|\n|—|\s–\s|\||(?<!\w)\d{1,3}\)\s)[\s\"'“”‘’(*_#>|-]*"
    r"(?:\d{1,3}[.)]\s+[\"'“”‘’(*_]*)?")
# What asks for a name; an answer of a few words to that is one, but for those that name nobody.
_ASKS_A_NAME = re.compile(r"\b(?:who|whom|whose|which|called|named|known\s+as|name\s+of)\b",
                          re.IGNORECASE)
_LONGEST_NAME = 3  # words
_NO_ANSWERS = FUNCTION_WORDS | frozenset((
    "anybody", "anyone", "each", "either", "every", "everybody", "everyone", "neither", "nobody",
    "none", "nothing", "somebody", "someone", "unknown"))
# Where one sentence of an answer ends and the next begins; a citation belongs to what it follows.
_BETWEEN = re.compile(r"[.!?]\s+(?!\[)|\n+")


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
    - A number: its value and sign, however it is written (1,200, 1 200 and 1200; 3.50 and 3.5; a
      passage's "fourteen" for 14); of a date its day, month and year (5 March 2026 and
      2026-03-05). A number that the answer computes is in no passage and is told too; so is one
      of the question where the cited passages give others of the same unit.
    - A name: a capitalised word that does not begin its sentence, an acronym, or a word of
      letters and digits (a part number); and one that is all the answer to who or which.

    What an answer says in other words than these is not judged, nor is a single sentence that
    abstains and cites nothing.

    Args:
        text: the answer.
        passages: those that it cites, by the numbers of its citations.
        question: what stands in it is mostly no claim of the answer.

    Returns:
        Each claim once, in order of appearance.
    """
    if is_abstention(text) and not _CITATION.search(text) and not _BETWEEN.search(text.strip()):
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
    named = {at for word in WORD.finditer(said) if _is_name(word.group(), first=True)
             for at in range(*word.span())}
    dated = _dated(said, evidence)
    for word in _DIGITS.finditer(said):
        match = _MEASURE.match(word.group())
        if match is None or word.start() in named or word.start() in items:
            continue
        held, start = _at(evidence, word.start()), word.start()
        end = start + len(match[1])
        if start in dated or holds(held.cited, said, start, end):
            continue
        if holds(held.question, said, start, end) and not (
                held.strict and unit(said, end) in units(held.cited)):
            continue
        if is_signed(said, start) and said[start - 1] in "-\u2212":
            start -= 1
        yield Unsupported(said[start:end], "number", start, end)


def _dated(said: str, evidence: Sequence[_Evidence]) -> set[int]:
    """The places of dates that a passage has, though in other words or digits."""
    return {at for date in dates(said) if date.stands_in(_at(evidence, date.start).cited)
            for at in range(date.start, date.end)}


def _names(said: str, evidence: Sequence[_Evidence]) -> Iterator[Unsupported]:
    begins = {match.end() for match in _SENTENCE.finditer(said)} - _of_a_name(said, evidence)
    dated = _dated(said, evidence)
    for match in WORD.finditer(said):
        if match.start() not in dated and _is_name(
                match.group(), first=match.start() in begins) and not _held(
                match.group(), _words(_at(evidence, match.start()).text)):
            yield Unsupported(match.group(), "name", match.start(), match.end())


def _of_a_name(said: str, evidence: Sequence[_Evidence]) -> set[int]:
    """Where the answer begins, when all that it says is a name, and one of no word that is there.

    A word that begins a sentence is else no name for its capital.
    """
    words = list(WORD.finditer(said))
    if not 0 < len(words) <= _LONGEST_NAME or words[0].group().casefold() in _NO_ANSWERS:
        return set()
    held = _at(evidence, words[0].start())
    if not _ASKS_A_NAME.search(held.question) or values(words[0].group()) or any(
            _held(word.group(), _words(held.text)) for word in words):
        return set()
    return {words[0].start()}


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
    return word[0].isupper() and not _NO_NAME.fullmatch(word)


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
    for match in WORD.finditer(text.casefold().replace("’", "'")):
        word = match.group()
        found |= {word, word.removesuffix("'s")}
        if not any(c.isdigit() for c in word):
            found |= set(re.split(r"[-_./']", word))
    return frozenset(found)


@lru_cache(maxsize=64)
def _folded(text: str) -> str:
    """Case, white space and the shape of quotation marks and dashes put aside."""
    plain = text.casefold().translate(str.maketrans("“”„«»‘’`–—", "\"\"\"\"\"'''--"))
    return " ".join(plain.split())
