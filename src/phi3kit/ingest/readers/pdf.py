"""PDF: the text of each page."""

from __future__ import annotations

import io
import logging
import warnings

from phi3kit.errors import DataError, first_line
from phi3kit.ingest.document import Document, joined
from phi3kit.records import Failure

_LIGATURES = str.maketrans({"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi",
                            "\ufb04": "ffl", "\ufb05": "st", "\ufb06": "st"})


def read(data: bytes) -> Document:
    """The pages' text, a part per page; pages without text become problems.

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
    pages = [(text, number) for number, text in enumerate(texts, start=1)]
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
