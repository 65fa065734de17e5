"""How specialised the words of the documents are, against general English."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from phi3kit.advise.measure.corpus import Corpus
from phi3kit.advise.measure.findings import Findings, found, nothing
from phi3kit.advise.measure.tokens import count, wordpiece
from phi3kit.advise.measure.words import english_share, fold, forms
from phi3kit.errors import ModelError

# Fewer words would put the share of rare ones off by more than a percent point.
_LEAST_WORDS = 500
# Texts listed below have a share of function words from 0.24 to 0.31, German manual pages 0.01.
_ENGLISH = 0.12
_FOREIGN = 0.2  # of all words, in documents with fewer function words than that
_RARE = 1e-6  # of all words: zipf 3 on wordfreq's scale
_MEDIUM, _HIGH = 0.03, 0.07
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class WordShares:
    """How unusual a corpus' words are.

    Attributes:
        rare: share of running words that general English has less than once in a million.
        rare_types: the same among different words.
        typical: the rare words that the corpus uses most.
    """

    rare: float
    rare_types: float
    typical: tuple[str, ...]


def vocabulary(corpus: Corpus) -> Findings:
    """`vocabulary`: low, medium or high by the share of words that are rare in English.

    Rare is what stands less than once in a million words of general English (wordfreq by
    Robyn Speer: books, subtitles, news, web, Wikipedia), code and names left out. Below 3%
    is low, from 7% on high. Documents that are not English are left out,
    and where they hold a fifth of the words there is no answer. Seen, as rare words and word
    pieces a word:

    - low: a company's handbook 1.4%, 1.07; a website's terms and policies 1.7%, 1.06; the
      Rust book 2.1%, 1.07; Pride and Prejudice 2.4%, 1.06
    - medium: the sample documents 4.0%, 1.06; cancer information for patients 4.3%, 1.14;
      Node's API 4.4%, 1.09; Ethereum's proposals 5.4%, 1.11; health information on
      digestive diseases 5.9%, 1.18; Rust's reference 5.9%, 1.12; Git's documentation 6.3%,
      1.17
    - high: 600 manual pages of Debian 7.3%, 1.13; genetic conditions 7.2%, 1.20; abstracts
      of PubMed 8.0%, 1.21

    A lower bound: everyday words in a sense of their own are not seen.
    """
    english: Counter[str] = Counter()
    everything = 0
    for document in corpus.documents:
        written = forms(document.text)
        folded = fold(written)
        everything += folded.total()
        if english_share(folded) >= _ENGLISH:
            english.update(written)
    if everything < _LEAST_WORDS:
        return nothing("vocabulary", f"{everything} words are too few to tell; it takes "
                                     f"{_LEAST_WORDS}")
    counted = fold(english)
    total = counted.total()
    if total < (1 - _FOREIGN) * everything:
        return nothing("vocabulary", f"{1 - total / everything:.0%} of the words stand in "
                                     "documents that are not running English, by function "
                                     "words such as 'the' and 'of'")
    shares = word_shares(counted)
    level = "low" if shares.rare < _MEDIUM else "medium" if shares.rare < _HIGH else "high"
    seen = f" ({', '.join(shares.typical)})" if shares.typical else ""
    how = (f"{shares.rare:.1%} of {total:,} words and {shares.rare_types:.0%} of the different "
           f"ones stand less than once in a million words of general English{seen}; "
           f"{_MEDIUM:.0%} make it medium, {_HIGH:.0%} high")
    with contextlib.suppress(ModelError):  # it only accompanies the share
        how += f"; {fertility(counted):.2f} word pieces a word, where general prose has 1.06"
    return found("vocabulary", level, how)


def word_shares(counted: Mapping[str, int]) -> WordShares:
    """The shares of rare words among `counted` (word in lower case to how often)."""
    from wordfreq import get_frequency_dict

    general = get_frequency_dict("en", wordlist="best")
    rare = {word: n for word, n in counted.items() if general.get(word, 0.0) < _RARE}
    most = sorted(rare, key=lambda word: (-rare[word], word))[:_SHOWN]
    return WordShares(sum(rare.values()) / sum(counted.values()), len(rare) / len(counted),
                      tuple(most))


def fertility(counted: Mapping[str, int]) -> float:
    """Word pieces of all-MiniLM-L6-v2 a running word, 1 or more.

    Raises:
        ModelError: the tokenizer's package is absent.
    """
    pieces = count(wordpiece(), list(counted))
    return (sum(n * times for n, times in zip(pieces, counted.values(), strict=True))
            / sum(counted.values()))
