"""E-mail: who, to whom, when, and the message; attachments by name."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes
from email.message import MIMEPart
from email.policy import default

from phi3kit.errors import DataError
from phi3kit.ingest.document import Document, stacked
from phi3kit.ingest.readers import html
from phi3kit.ingest.readers.decode import decode
from phi3kit.ingest.readers.outline import Outline
from phi3kit.records import Failure

_HEADERS = ("From", "To", "Cc", "Date")
_NAMES = 50  # attachments that are named


def read(data: bytes) -> Document:
    """The subject as heading, the headers, every text that is no attachment, forwarded messages.

    Of versions of one text the plain one is taken, unless it is blank. A text that cannot be
    read becomes a problem where there are others.

    Raises:
        DataError: no e-mail, or a text that cannot be read.
    """
    message = message_from_bytes(data, policy=default)
    if not any(message[name] for name in ("From", "To", "Subject", "Date", "Received")):
        raise DataError("no e-mail: none of the headers From, To, Subject, Date")
    return _message(message)


def _message(message: MIMEPart) -> Document:
    outline = Outline()
    outline.heading(1, _header(message, "Subject"))
    outline.paragraph("\n".join(f"{name}: {value}" for name in _HEADERS
                                if (value := _header(message, name))))
    names = list(_attached(message))
    if names:
        more = f", and {len(names) - _NAMES:,} more" if len(names) > _NAMES else ""
        outline.paragraph(f"Attachments: {', '.join(names[:_NAMES])}{more}")
    bodies = list(_bodies(message))
    problems = tuple(problem for body in bodies for problem in body.problems)
    if not any(body.text for body in bodies):
        bodies, problems = [_one_body(message)], ()
    return stacked([(document, None) for document in (outline.document(), *bodies)], apart=False,
                   problems=problems)


def _header(message: MIMEPart, name: str) -> str:
    try:
        return " ".join(str(message[name] or "").split())
    except (ValueError, IndexError, AttributeError, TypeError):  # headers that no grammar knows
        return ""


def _bodies(part: MIMEPart) -> Iterator[Document]:
    """What is to be read, in order: a picture or a forwarded message may stand between texts."""
    if part.is_attachment():
        return
    kind = part.get_content_type()
    if kind == "multipart/alternative":
        plain = _one_body(part, "plain")
        yield plain if plain.text else _one_body(part, "html")
    elif kind == "message/rfc822":
        yield from map(_message, part.iter_parts())
    elif part.get_content_maintype() == "multipart":
        for inner in part.iter_parts():
            yield from _bodies(inner)
    elif kind in ("text/plain", "text/html") and not part.get_filename():
        try:
            yield _text(part)
        except DataError as error:
            yield Document("", (), problems=(Failure("a text in it", str(error)),))


def _one_body(message: MIMEPart, *kinds: str) -> Document:
    part = message.get_body(preferencelist=kinds or ("plain", "html"))
    return Outline().document() if part is None else _text(part)


def _text(part: MIMEPart) -> Document:
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    if part.get_content_type() == "text/html" and data.strip():
        return html.read(data)
    outline = Outline()
    outline.paragraph(decode(data, part.get_content_charset()))
    return outline.document()


def _attached(message: MIMEPart) -> Iterator[str]:
    for part in message.walk():
        if part.get_content_disposition() == "attachment" or part.get_filename():
            yield " ".join((part.get_filename() or part.get_content_type()).split())
