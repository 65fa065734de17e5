"""PDF: the text of each page."""

from __future__ import annotations

import io
import logging
import re
import warnings

from phi3kit.errors import DataError, first_line
from phi3kit.ingest.document import Document, joined
from phi3kit.records import Failure

_LIGATURES = str.maketrans({"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi",
                            "\ufb04": "ffl", "\ufb05": "st", "\ufb06": "st"})
# A word cut at the end of a line, with what hangs on its first half by hyphens. Nothing is tried
# twice: no line can make it slow.
_CUT = re.compile(r"(?<![^\W\d_])((?:[^\W\d_]++[-\u2010](?=[^\W\d_])){0,4}+)([^\W\d_]{2,}+)"
                  r"([-\u2010\u00ad])[ \t]*+\n[ \t]*+([^\W\d_]{2,}+)")
_COMPOUND = re.compile(r"(?<![^\W\d_])[^\W\d_]++[-\u2010][^\W\d_]++")
# What follows a hyphen that stands for the rest of a word: "pre- and post-war".
_JOINS = frozenset({"and", "or", "to", "und", "oder", "bis", "sowie", "et", "ou", "en"})


def read(data: bytes) -> Document:
    """The pages' text, a part per page; pages without text become problems.

    Words that are cut at the end of a line are joined where both halves meet in lower-case
    letters (see `_whole_words`). Those cut at the end of a page stay so.

    Raises:
        DataError: encrypted, damaged, or no page with text (a scan).
    """
    import pypdf
    from pypdf.errors import DependencyError, FileNotDecryptedError, WrongPasswordError

    # What pypdf mends by itself need not be told; what it cannot is raised.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader = pypdf.PdfReader(io.BytesIO(data))
            if reader.is_encrypted and not reader.decrypt(""):
                raise DataError("the PDF is encrypted", mend="Save it without a password")
            texts = [_clean(page.extract_text()) for page in reader.pages]
    except (DataError, MemoryError):
        raise
    except (DependencyError, FileNotDecryptedError, WrongPasswordError) as error:
        raise DataError("the PDF is encrypted", mend="Save it without a password") from error
    except Exception as error:
        # Damaged files raise whatever the broken object met: KeyError, RecursionError, …
        raise DataError(f"damaged PDF ({first_line(error)})") from error
    pages = [(text, number) for number, text in enumerate(_whole_words(texts), start=1)]
    if not any(text.strip() for text in texts):
        raise DataError(f"no text on its {len(texts)} pages; scans need text recognition first")
    empty = tuple(Failure(f"p. {number}", "no text on the page; a scan needs text recognition")
                  for text, number in pages if not text.strip() and _has_image(reader, number))
    return joined([(text, number) for text, number in pages if text.strip()], problems=empty)


def _has_image(reader: object, number: int) -> bool:
    """Whether a page without text shows a picture: a scan, and not an empty page."""
    try:
        resources = reader.pages[number - 1]["/Resources"]  # type: ignore[attr-defined]
        return bool(resources.get("/XObject"))
    except (KeyError, AttributeError, TypeError):
        return False


def _clean(text: str) -> str:
    """The text with letters for ligatures, which no question is typed with, and one line end."""
    return text.translate(_LIGATURES).replace("\r\n", "\n").replace("\r", "\n")


def _whole_words(texts: list[str]) -> list[str]:
    """The texts with words that a line's end cuts in one piece again.

    The hyphen stays in what is a compound without doubt: where the same text writes it so
    elsewhere within a line, or where the word has another hyphen. Of other compounds that are
    cut at their hyphen it is lost: "cost-" above "free" becomes "costfree".
    """
    written = {word.casefold().replace("\u2010", "-") for text in texts
               for word in _COMPOUND.findall(text)}

    def join(cut: re.Match[str]) -> str:
        before, first, hyphen, second = cut.groups()
        if not (first[-1].islower() and second[0].islower()) or (
                hyphen != "\u00ad" and second in _JOINS):
            return cut[0]
        kept = hyphen != "\u00ad" and (
            bool(before) or f"{first}-{second}".casefold() in written)
        return f"{before}{first}{hyphen if kept else ''}{second}"

    return [_CUT.sub(join, text) for text in texts]
