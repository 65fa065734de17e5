"""E-mail: who, to whom, when, and the message; attachments by name."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

from phi3kit.errors import DataError
from phi3kit.ingest.document import Document, stacked
from phi3kit.ingest.readers import html
from phi3kit.ingest.readers.decode import decode
from phi3kit.ingest.readers.outline import Outline

_HEADERS = ("From", "To", "Cc", "Date")
_NAMES = 50  # attachments that are named


def read(data: bytes) -> Document:
    """The subject as heading, the headers, every text that is no attachment, forwarded messages.

    Of versions of one text the plain one is taken, unless it is blank.

    Raises:
        DataError: no e-mail, or a text that cannot be read.
    """
    message = message_from_bytes(data, policy=default)
    if not any(message[name] for name in ("From", "To", "Subject", "Date", "Received")):
        raise DataError("no e-mail: none of the headers From, To, Subject, Date")
    return _message(message)


def _message(message: EmailMessage) -> Document:
    outline = Outline()
    outline.heading(1, _header(message, "Subject"))
    outline.paragraph("\n".join(f"{name}: {value}" for name in _HEADERS
                                if (value := _header(message, name))))
    names = list(_attached(message))
    if names:
        more = f", and {len(names) - _NAMES:,} more" if len(names) > _NAMES else ""
        outline.paragraph(f"Attachments: {', '.join(names[:_NAMES])}{more}")
    bodies = [body for body in _bodies(message) if body.text] or [_one_body(message)]
    return stacked([(document, None) for document in (outline.document(), *bodies)], apart=False)


def _header(message: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(message[name] or "").split())
    except (ValueError, IndexError, AttributeError, TypeError):  # headers that no grammar knows
        return ""


def _bodies(part: EmailMessage) -> Iterator[Document]:
    """What is to be read, in order: a picture or a forwarded message may stand between texts."""
    if part.is_attachment():
        return
    kind = part.get_content_type()
    if kind == "multipart/alternative":
        plain = _one_body(part, "plain")
        yield plain if plain.text else _one_body(part, "html")
    elif kind == "message/rfc822" and part.is_multipart():
        yield _message(part.get_payload(0))
    elif part.get_content_maintype() == "multipart" and part.is_multipart():
        for inner in part.iter_parts():
            yield from _bodies(inner)
    elif kind in ("text/plain", "text/html") and not part.get_filename():
        yield _text(part)


def _one_body(message: EmailMessage, *kinds: str) -> Document:
    part = message.get_body(preferencelist=kinds or ("plain", "html"))
    return Outline().document() if part is None else _text(part)


def _text(part: EmailMessage) -> Document:
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    if part.get_content_type() == "text/html" and data.strip():
        return html.read(data)
    outline = Outline()
    outline.paragraph(decode(data, part.get_content_charset()))
    return outline.document()


def _attached(message: EmailMessage) -> Iterator[str]:
    for part in message.walk():
        if part.get_content_disposition() == "attachment" or part.get_filename():
            yield " ".join((part.get_filename() or part.get_content_type()).split())
