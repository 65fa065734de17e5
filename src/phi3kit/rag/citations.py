"""Citations in an answer: those that point at nothing go, those that are missing come.

An answer is checked while it is written: a wrong citation never reaches the screen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from phi3kit.parsing import whole_json
from phi3kit.rag.code_spans import judge
from phi3kit.rag.evidence import best_passage
from phi3kit.rag.prompt import is_abstention
from phi3kit.records import Citation, Passage

# [1], [ 2 ], [1, 3], [1-3]; with any of the dashes that stand between numbers. And what models
# learned to cite by elsewhere: [Passage 9], [1 and 2], [^9], 【9】, 【1†L3-L5】. The bound keeps a
# stream from waiting for a bracket that never closes.
_DASH = r"[-\u2010-\u2014\u2212]"
_LABELS = ("passages", "passage", "sources", "source", "documents", "document", "docs", "doc",
           "references", "reference", "refs", "ref")
_LABEL = "|".join(_LABELS)
_MARK = rf"""(?:[\s0-9,;&]|(?<=[\s0-9]){_DASH}(?=[\s0-9])|(?<=[\s0-9])and(?=[\s0-9])
    |\^(?=[0-9])|(?<![a-z])(?:{_LABEL})(?=\s{{0,3}}[0-9])){{1,60}}(?:†[^][【】\n]{{0,40}})?"""
_MARKER = re.compile(rf"\[{_MARK}\]|【{_MARK}】", re.IGNORECASE | re.VERBOSE)
_WORDS_BEGUN = "|".join(sorted({word[:end] for word in ("and", *_LABELS)
                                for end in range(1, len(word) + 1)}, key=len, reverse=True))
_MARKER_BEGUN = re.compile(
    rf"[\[【](?:[\s0-9,;&^]|{_DASH}|{_LABEL}|and){{0,60}}(?:{_WORDS_BEGUN})?"
    r"(?:†[^][【】\n]{0,40})?\Z", re.IGNORECASE)
# After a word character and from 0, where no passage is: rows[0], grid[0][7]. Others are cited so,
# without a blank, by many models.
_INDEXES = re.compile(r"(?<=\w)\[0\](?:\[[0-9]{1,9}\])*")
_INDEXES_BEGUN = re.compile(r"(?<=\w)\[(?:0(?:\](?:\[[0-9]{1,9}\])*(?:\[[0-9]{0,9})?)?)?\Z")
_NUMBERS = re.compile(rf"([0-9]+)(?:\s*{_DASH}\s*([0-9]+))?")
# How a JSON object or list begins, and the texts in it, the last of which may be unfinished.
_JSON_BEGUN = re.compile(r'\s*(?:\Z|\{\s*(?:\Z|["}])|\[\s*(?:\Z|["\[{\]\dtfn-]))')
_JSON_TEXT = re.compile(r'"(?:[^"\\]|\\.|\\\Z)*(?:"|\Z)', re.DOTALL)
_RANGE = 100  # numbers of a range; of a longer one its ends are looked at
_ENDS = ".!?"
_CLOSERS = "\"'”’)"


@dataclass(frozen=True, slots=True)
class CheckedText:
    """An answer whose citations all point at a passage.

    Attributes:
        citations: one for each number in the text, in order of appearance.
        removed: the numbers that pointed at nothing, in the order they were written.
    """

    text: str
    citations: tuple[Citation, ...]
    removed: tuple[int, ...]


def check(text: str, passages: Sequence[Passage] | None, *, question: str = "") -> CheckedText:
    """Check a whole answer.

    Args:
        text: what the model wrote.
        passages: what it was shown, in the order of their numbers. None in closed book, where
            no bracket is a citation; where it is empty, every citation points at nothing.
        question: its words are no evidence for an answer that repeats them.

    Returns:
        The text, stripped, with valid citations only. A sentence without one is given that
        of the passage that holds it (see `evidence.best_passage`), and none when none does.
    """
    checker = Checker(passages, question=question)
    checker.feed(text)
    checker.close()
    return checker.result()


class Checker:
    """`check` for a text that comes in pieces: the output does not depend on the cuts.

    Held back: what may become a citation, the comma or space before it, and the stop that
    ends a sentence, for a citation may have to go before it. In code nothing is a citation: not
    from 0 after a word (rows[0]), nor between backticks, so that one is held back until it is
    known whether it begins some. What begins as JSON is held back until it is whole, for then
    it is an answer that a program reads, or until it is none.
    """

    def __init__(self, passages: Sequence[Passage] | None, *, question: str = "") -> None:
        self._passages = tuple(passages or ())
        self._cites = passages is not None
        self._may_be_json = True
        self._before = ""  # the last character that was read
        self._question = question
        self._raw = ""  # not yet read: what may become a citation, and what joins it (", ")
        self._fence = 0  # backticks that began the block of code that is being written
        self._line = ""  # that is being written, as it is shown
        self._sentence = ""  # of the sentence being written, without its citations
        self._stop = ""  # its end, held back: ".", ". ", "\n"
        self._cited = False
        self._started = False  # white space in front of the answer is dropped
        self._out: list[str] = []
        self._by: dict[int, Literal["model", "match"]] = {}
        self._removed: list[int] = []

    def feed(self, piece: str) -> str:
        """Take the next piece; returns what may be shown now (often less, or more)."""
        self._raw += piece
        if not self._cites:
            return self._emit(self._as_it_is())
        self._may_be_json = self._may_be_json and _may_be_json(self._raw)
        return "" if self._may_be_json else self._emit("".join(self._read(last=False)))

    def close(self) -> str:
        """The rest, when the answer has ended."""
        if not self._cites:
            return ""
        if self._may_be_json and whole_json(self._raw) is not None:
            text, self._raw = self._raw.strip(), ""
            return self._emit(text)
        rest = "".join(self._read(last=True))
        rest += self._end_sentence()
        return self._emit(rest.rstrip())

    @property
    def cites(self) -> bool:
        """Whether a passage is cited by now."""
        return bool(self._by)

    def result(self) -> CheckedText:
        """What has been shown so far, as a whole."""
        citations = tuple(Citation(n, self._passages[n - 1], by) for n, by in self._by.items())
        return CheckedText("".join(self._out), citations, tuple(self._removed))

    def _emit(self, text: str) -> str:
        self._out.append(text)
        return text

    def _as_it_is(self) -> str:
        """All that was not shown yet but for white space, which may be the answer's end."""
        text = self._raw if self._started else self._raw.lstrip()
        shown = text.rstrip()
        self._started = self._started or bool(shown)
        self._raw = text[len(shown):]
        return shown

    def _read(self, *, last: bool) -> Iterator[str]:
        """Consume `_raw` as far as it can be judged."""
        raw, at = f"{self._before}{self._raw}", len(self._before)
        while at < len(raw):
            start = at
            while at < len(raw) and (raw[at].isspace() or raw[at] == ","):
                at += 1
            space = raw[start:at]
            if at == len(raw):
                if last and self._started:
                    yield from self._written(space.rstrip(), is_code=bool(self._fence))
                at = start
                break
            end, is_code, fence = at + 1, bool(self._fence), self._fence
            if not (self._fence or last) and _INDEXES_BEGUN.match(raw, at):
                at = start
                break
            index = None if self._fence else _INDEXES.match(raw, at)
            if index:
                end = index.end()
            elif raw[at] in "[【" and not self._fence:
                marker = _MARKER.match(raw, at)
                if marker and any(c in "0123456789" for c in marker.group()):
                    following = raw[marker.end():marker.end() + 1]
                    ticked = "`" in self._line
                    if ticked and not following and not last:
                        at = start
                        break
                    yield self._mark(space, marker.group(),
                                     apart=ticked and ("\n" in space or following == "`"))
                    at = marker.end()
                    continue
                if not last and _MARKER_BEGUN.match(raw, at):
                    at = start
                    break
            if raw[at] == "`":
                before = f"{self._line}{space if self._started else ''}".rpartition("\n")[2]
                judged = judge(raw, at, fence=fence, begins_line=not before.strip(), last=last)
                if judged is None:
                    at = start
                    break
                end, is_code, fence = judged.end, judged.is_code, judged.fence
            if self._started:
                yield from self._written(space, is_code=bool(self._fence))
            self._started = True
            yield from self._written(raw[at:end], is_code=is_code)
            if self._fence and not fence:  # or a citation would follow on the line that ends it
                self._begin_sentence()
            self._fence, at = fence, end
        self._raw, self._before = "" if last else raw[at:], raw[at - 1:at]

    def _mark(self, space: str, marker: str, *, apart: bool) -> str:
        """A citation that the model wrote: its valid numbers, or nothing at all.

        Args:
            apart: whether what stands on both sides would become code, were nothing between.
        """
        valid: list[int] = []
        for number in _numbers(marker):
            if not 1 <= number <= len(self._passages):
                self._removed.append(number)
            elif number not in valid:
                valid.append(number)
                self._by[number] = "model"
        if not valid:
            return "".join(self._written(space or " ", is_code=False)) if apart else ""
        shown = f"{space if self._started else ''}[{', '.join(map(str, valid))}]"
        self._started = True
        self._line = f"{self._line}{shown}".rpartition("\n")[2]
        if self._stop:  # "… seven days. [1]": it belongs to the sentence before it
            shown = self._stop + shown
            self._begin_sentence()
        else:
            self._cited = True
        return shown

    def _written(self, text: str, *, is_code: bool) -> Iterator[str]:
        self._line = f"{self._line}{text}".rpartition("\n")[2]
        return (self._write(char, is_code=is_code) for char in text)

    def _write(self, char: str, *, is_code: bool) -> str:
        """One character of the text outside of citations; returns what it sets free."""
        if self._stop:
            if char.isspace() or (char in _ENDS + _CLOSERS and not self._stop[-1].isspace()):
                self._stop += char
                return ""
            if self._is_boundary(char):
                return self._end_sentence() + self._write(char, is_code=is_code)
            free, self._stop = self._stop, ""
            self._sentence += free
            return free + self._write(char, is_code=is_code)
        if not is_code and (char == "\n" or char in _ENDS):
            self._stop = char
            return ""
        self._sentence += char
        return char

    def _is_boundary(self, following: str) -> bool:
        """Whether the held stop ends a sentence: not in "3.5", "No. 4", "e.g. so", "1. Open"."""
        if "\n" in self._stop:
            return True
        numbering = self._sentence.strip().isdigit()
        return (self._stop[-1].isspace() and not numbering
                and not following.islower() and not following.isdigit())

    def _end_sentence(self) -> str:
        shown = self._stop
        if not self._cited and not is_abstention(self._sentence):
            number = best_passage(self._sentence, self._passages, self._question)
            if number is not None:
                self._by.setdefault(number, "match")
                shown = f" [{number}]{shown}"
        self._begin_sentence()
        return shown

    def _begin_sentence(self) -> None:
        self._sentence, self._stop, self._cited = "", "", False


def _may_be_json(text: str) -> bool:
    """Whether a text that is still being written may be a JSON object or list as a whole."""
    if not _JSON_BEGUN.match(text):
        return False
    depth, bare = 0, _JSON_TEXT.sub("", text).strip()
    for at, char in enumerate(bare, start=1):
        depth += (char in "{[") - (char in "}]")
        if not depth:
            return at == len(bare)
    return True


def _numbers(marker: str) -> Iterator[int]:
    """The numbers that a marker names, those of its ranges included."""
    for first, last in _NUMBERS.findall(marker.partition("†")[0]):
        one, other = int(first), int(last or first)
        yield from (range(one, other + 1) if 0 <= other - one < _RANGE else (one, other))
