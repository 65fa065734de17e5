"""One spelling of each word, before words of different texts are compared."""

from __future__ import annotations

import re
import unicodedata

# Chinese and Japanese have no blanks between words. Each sign counts, as in Lucene's standard.
_SIGN = re.compile("[\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


def spelt(text: str) -> str:
    """The text with letters of one kind, without soft hyphens, signs standing by themselves.

    "ü" may be written as a letter and a mark, which would part the word.
    """
    return _SIGN.sub(r" \g<0> ", unicodedata.normalize("NFKC", text).replace("\u00ad", ""))
