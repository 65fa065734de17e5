"""PDF: the text of each page."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Sequence
from typing import Any

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
    """The pages' text, a part per page; scanned and broken pages become problems.

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
            pages = list(reader.pages)
            texts, broken = _texts(pages)
    except (DataError, MemoryError):
        raise
    except (DependencyError, FileNotDecryptedError, WrongPasswordError) as error:
        raise DataError("the PDF is encrypted", mend="Save it without a password") from error
    except Exception as error:
        # Damaged files raise whatever the broken object met: KeyError, RecursionError, …
        raise DataError(f"damaged PDF ({first_line(error)})") from error
    if not any(text.strip() for text in texts):
        if broken:
            raise DataError(f"damaged PDF ({next(iter(broken.values()))})")
        raise DataError(f"no text on its {len(texts)} pages; scans need text recognition first")
    problems = {number: f"the page cannot be read ({why})" for number, why in broken.items()}
    for number, (page, text) in enumerate(zip(pages, texts, strict=True), start=1):
        if number not in broken and not text.strip() and _has_image(page):
            problems[number] = "no text on the page; a scan needs text recognition"
    return joined([(text, number) for number, text in enumerate(_whole_words(texts), start=1)
                   if text.strip()],
                  problems=tuple(Failure(f"p. {number}", why)
                                 for number, why in sorted(problems.items())))


def _texts(pages: Sequence[Any]) -> tuple[list[str], dict[int, str]]:
    """Each page's text, and why there is none, by the number of the page, where it is broken."""
    from pypdf.errors import DependencyError, FileNotDecryptedError, WrongPasswordError

    texts: list[str] = []
    broken: dict[int, str] = {}
    for number, page in enumerate(pages, start=1):
        try:
            texts.append(_clean(page.extract_text()))
        except (MemoryError, DependencyError, FileNotDecryptedError, WrongPasswordError):
            raise  # no matter of this page alone
        except Exception as error:
            texts.append("")
            broken[number] = first_line(error)
    return texts, broken


def _has_image(page: Any) -> bool:
    """Whether a page without text shows a picture: a scan, and not an empty page."""
    try:
        return bool(page["/Resources"].get("/XObject"))
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
