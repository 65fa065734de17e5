"""One spelling of each word, before words of different texts are compared."""

from __future__ import annotations

import re
import unicodedata

# Chinese and Japanese have no blanks between words. Each sign counts, as in Lucene's standard.
_SIGN = re.compile("[\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
# Marks of width zero that part or tie letters without being seen. Between the letters of
# scripts that write blanks between words, no such mark ends one; in others it may.
_UNSEEN = re.compile("[\u00ad\u200d\u2060\ufeff]"
                     "|(?<=[0-9A-Za-z_\u00c0-\u052f])[\u200b\u200c](?=[0-9A-Za-z_\u00c0-\u052f])")


def spelt(text: str) -> str:
    """The text with letters of one kind, signs standing by themselves.

    "ü" may be written as a letter and a mark, which would part the word; so would soft hyphens
    and other marks that are not seen.
    """
    return _SIGN.sub(r" \g<0> ", _UNSEEN.sub("", unicodedata.normalize("NFKC", text)))
