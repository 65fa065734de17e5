"""Words of a text, without code and proper names, and whether a corpus is English."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

# Names in code are no terms of a language: fenced blocks and spans go first …
_CODE = re.compile(r"^(```|~~~).*?^\1[^\n]*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
# … then everything between blanks that is more than a word in its punctuation:
# URLs, paths, flags, calls, snake_case, camelCase, part numbers.
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_AROUND = "\"'“”‘’«»()[]{}<>*_#|.,;:!?…–—"
_CAMEL = re.compile(r"[a-z][A-Z]")

# The most frequent words of English that no other large European language shares.
_ENGLISH = frozenset({"the", "of", "and", "to", "that", "is", "with", "for", "it", "by", "be",
                      "are", "from", "this", "which", "have", "or", "not", "as", "on"})


def forms(text: str) -> Counter[str]:
    """How often each word stands in `text`, as it is written.

    Hyphenated words count as their parts, and a genitive as its word. Code is left out.
    """
    found: Counter[str] = Counter()
    for token in _CODE.sub(" ", text).split():
        token = token.strip(_AROUND)
        if _WORD.fullmatch(token) and not _CAMEL.search(token):
            found.update(token.replace("’", "'").removesuffix("'s").split("-"))
    return found


def fold(counted: Mapping[str, int]) -> Counter[str]:
    """`counted` in lower case, without single letters and names.

    Names are words that are never written in lower case, acronyms excepted.
    """
    known = {form.casefold() for form in counted if form[:1].islower() or form.isupper()}
    folded: Counter[str] = Counter()
    for form, count in counted.items():
        word = form.casefold()
        if len(word) > 1 and word in known:
            folded[word] += count
    return folded


def english_share(counted: Mapping[str, int]) -> float:
    """The share of English function words among all words, 0 to 1; 0 when there are none."""
    total = sum(counted.values())
    return sum(counted.get(word, 0) for word in _ENGLISH) / total if total else 0.0
