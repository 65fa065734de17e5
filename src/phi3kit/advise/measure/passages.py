"""Which documents hold given words: an inverted index over passages."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Set
from functools import lru_cache
from math import log

from phi3kit.advise.measure.corpus import PASSAGE_WORDS, Corpus
from phi3kit.files import composed

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*")
_COMMON = 6.0  # zipf: the 100 most frequent words of English or so
_NUMERALS = frozenset({"one", "two", "three", "first", "second"})
_LOOKED_AT = 20_000  # postings a query; bounds the time, the rarest tokens go first
_BEST = 20  # passages
_ENOUGH = 50  # passages, to know how many hold a word
_TITLE = 20  # words of a document's beginning that hold for all its passages


def tokens(text: str) -> list[str]:
    """Words and numbers of `text` as they are compared: no case, no plural s, 1,000.0 as 1000."""
    return [_fold(token) for token in _TOKEN.findall(unicodedata.normalize("NFKC", text))]


@lru_cache(maxsize=200_000)
def _fold(token: str) -> str:
    if token[0].isdigit():
        number = token.replace(",", "")
        return number.rstrip("0").rstrip(".") if "." in number else number
    word = token.casefold().replace("’", "'").removesuffix("'s")
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] != "s" else word


@lru_cache(maxsize=200_000)
def rarity(token: str) -> float:
    """How rare a word is in English: 9 minus its zipf frequency, 1 ("the") to 9 (unknown)."""
    from wordfreq import zipf_frequency

    return 9.0 - max(float(zipf_frequency(form, "en")) for form in (token, token + "s"))


def telling(found: Iterable[str]) -> set[str]:
    """Numbers, and words that are not among the most frequent ones."""
    return {token for token in found if token[0].isdigit() or token in _NUMERALS
            or (len(token) > 1 and rarity(token) > 9.0 - _COMMON)}


class Passages:
    """The corpus' passages as sets of tokens, found by any of them."""

    def __init__(self, corpus: Corpus, advance: Callable[[int], object] = lambda _: None) -> None:
        self.document: list[int] = []
        self.holds: list[frozenset[str]] = []
        self._postings: defaultdict[str, list[int]] = defaultdict(list)
        titles = [frozenset(tokens(" ".join(d.text.split(None, _TITLE)[:_TITLE]) + " "
                                   + d.source)) for d in corpus.documents]
        for document, text in corpus.passages:
            held = frozenset(tokens(text)) | titles[document]
            for token in held:
                self._postings[token].append(len(self.holds))
            self.holds.append(held)
            self.document.append(document)
            advance(1)
        self._named = _by_name(d.source for d in corpus.documents)
        self._of: defaultdict[int, list[int]] = defaultdict(list)
        for at, document in enumerate(self.document):
            self._of[document].append(at)

    def weight(self, token: str) -> float:
        """Inverse document frequency over the passages, at least one being taken to hold it."""
        return log(1 + len(self.holds) / max(1, len(self._postings.get(token, ()))))

    def find(self, wanted: Set[str]) -> list[int]:
        """The passages that hold most of `wanted`, by weight, best first; at most 20."""
        scores: Counter[int] = Counter()
        looked = 0
        for token in sorted(wanted, key=lambda t: (len(self._postings.get(t, ())), t)):
            posted = self._postings.get(token, ())
            looked += len(posted)
            if looked > _LOOKED_AT and scores:
                break
            weight = self.weight(token)
            for at in posted:
                scores[at] += weight  # type: ignore[assignment]
        ordered = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
        return [at for at, _ in ordered[:_BEST]]

    def share(self, wanted: Set[str], held: Set[str]) -> float:
        """The share of `wanted` that `held` has, by weight; 0 when nothing is wanted."""
        total = sum(self.weight(token) for token in wanted)
        return sum(self.weight(token) for token in wanted & held) / total if total else 0.0

    def chance(self, wanted: Set[str], looked_at: int) -> float:
        """How likely one of `looked_at` passages on something else holds all of `wanted`.

        A token is taken to stand in a passage as often as in any 200 words of English, or as
        in these passages, if that is more, and independently of the others.
        """
        once = 1.0
        for token in wanted:
            once *= max(1 - (1 - 10 ** -rarity(token)) ** PASSAGE_WORDS, self._usual(token))
        return 1 - (1 - min(once, 1.0)) ** looked_at

    def _usual(self, token: str) -> float:
        # Among few passages each fact's own one would already make it usual.
        enough = len(self.holds) >= _ENOUGH
        return len(self._postings.get(token, ())) / len(self.holds) if enough else 0.0

    def of_source(self, name: str) -> list[int]:
        """The passages of the document that `name` names, be it by the end of its path."""
        document = self._named.get(composed(name).strip("./"))
        return self._of[document] if document is not None else []


def _by_name(sources: Iterable[str]) -> dict[str, int]:
    """Every end of each source's path that ends no other one."""
    named: dict[str, int] = {}
    twice = set[str]()
    for at, source in enumerate(sources):
        parts = composed(source).strip("./").split("/")
        for start in range(len(parts)):
            name = "/".join(parts[start:])
            if name in named:
                twice.add(name)
            named[name] = at
    return {name: at for name, at in named.items() if name not in twice}
