"""E-mail: who, to whom, when, and the message; attachments by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
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
_MARKS = ("from", "to", "subject", "date", "received")  # headers that an e-mail has one of
_NAMES = 50  # attachments that are named


def read(data: bytes) -> Document:
    """The subject as heading, the headers, every text that is no attachment, forwarded messages.

    Of versions of one text the plain one is taken, unless it is blank or cannot be read. A text
    that cannot be read becomes a problem where there are others.

    Raises:
        DataError: no e-mail, or a text that cannot be read.
    """
    message = message_from_bytes(data, policy=default)
    # As they stand: to ask for one by name would parse it, and some cannot be parsed.
    if not any(name.lower() in _MARKS and str(value).strip()
               for name, value in message.raw_items()):
        raise DataError("no e-mail: none of the headers From, To, Subject, Date")
    return _message(message)


def _message(message: MIMEPart) -> Document:
    outline = Outline()
    subject = _header(message, "Subject")
    outline.heading(1, subject)
    outline.paragraph("\n".join(f"{name}: {value}" for name in _HEADERS
                                if (value := _header(message, name))))
    names = list(_attached(message))
    if names:
        more = f", and {len(names) - _NAMES:,} more" if len(names) > _NAMES else ""
        outline.paragraph(f"Attachments: {', '.join(names[:_NAMES])}{more}")
    bodies = list(_bodies(message))
    problems = [problem for body in bodies for problem in body.problems]
    if not any(body.text for body in bodies):
        bodies = [_one_body(message)]
        problems = problems or list(bodies[0].problems)
        if problems and not bodies[0].text:
            raise DataError(problems[0].why)
    below = 1 if subject else 0
    return stacked([(outline.document(), None), *((_below(body, below), None) for body in bodies)],
                   apart=False, anew=1 + below, problems=tuple(problems))


def _below(body: Document, levels: int) -> Document:
    """The body with its headings below the subject's; the title that HTML has beside it is out."""
    return replace(body, headings=tuple(replace(h, level=h.level + levels)
                                        for h in body.headings if h.level))


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
        if plain.text:
            yield plain
        else:
            html_ = _one_body(part, "html")
            yield replace(html_, problems=(*plain.problems, *html_.problems))
    elif kind == "message/rfc822":
        for inner in part.iter_parts():
            try:
                yield _message(inner)
            except DataError as error:
                yield _unread("a message in it", error)
    elif part.get_content_maintype() == "multipart":
        for inner in part.iter_parts():
            yield from _bodies(inner)
    elif kind in ("text/plain", "text/html") and not part.get_filename():
        yield _told(part)


def _one_body(message: MIMEPart, *kinds: str) -> Document:
    part = message.get_body(preferencelist=kinds or ("plain", "html"))
    return Outline().document() if part is None else _told(part)


def _told(part: MIMEPart) -> Document:
    """The text of a part, or the problem that it is."""
    try:
        return _text(part)
    except DataError as error:
        return _unread("a text in it", error)


def _unread(where: str, error: DataError) -> Document:
    return Document("", (), problems=(Failure(where, str(error)),))


def _text(part: MIMEPart) -> Document:
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    if part.get_content_type() == "text/html" and data.strip():
        return html.read(data, part.get_content_charset())
    outline = Outline()
    outline.paragraph(decode(data, part.get_content_charset()))
    return outline.document()


def _attached(message: MIMEPart) -> Iterator[str]:
    for part in message.walk():
        if part.get_content_disposition() == "attachment" or part.get_filename():
            yield " ".join((part.get_filename() or part.get_content_type()).split())
