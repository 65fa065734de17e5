"""Bytes to text: UTF-8 first, then what the file says, then the best guess.

A stray byte costs one character, never the encoding of all the others: what is nearly all
valid in one encoding is read in it, with U+FFFD for the rest.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

from phi3kit.errors import DataError

# UTF-32 before UTF-16: the one's mark begins with the other's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"), (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
# What texts are found in; to choose among fewer is to choose better.
_LEGACY = ("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257",
           "iso8859_2", "iso8859_5", "koi8_r", "koi8_u", "mac_roman", "mac_cyrillic", "cp866",
           "cp850", "shift_jis", "cp932", "euc_jp", "gb18030", "big5", "euc_kr", "cp949", "cp874")
# Those in which not every byte is a character: one stray byte rules them out, wrongly.
_DOUBLE = ("shift_jis", "cp932", "euc_jp", "gb18030", "big5", "euc_kr", "cp949")
_STRICT = (*_DOUBLE, "cp1253", "cp1255", "cp874")
_KIN = {"shift_jis": ("cp932",), "cp949": ("euc_kr",), "euc_kr": ("cp949",)}
# What is written under the names of smaller ones, as browsers read it: curly quotes and € are in
# none of the ISO's, and names of people not in all of the Japanese and Chinese.
_MEANT = {"iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
          "shift_jis": "cp932", "gb2312": "gb18030", "gbk": "gb18030", "euc_kr": "cp949"}
_RARE = ("cp1257",)  # looks like many others
_SAMPLE, _LOOKS = 16_384, 256
# Share of the characters that may be damaged in a text, and its length that forgives one.
_DAMAGE, _ONE_IN = 0.001, 40
_CONTROLS = re.compile("[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f]")
_SIGN_IN_WORD = re.compile("(?<=[^\\W\\d_])[^\\w\\s\x00-\x7f\u2019·]"
                           "|[ªº¦¶±¬¹²³¼½¾](?=[^\\W\\d_])|[ŕŔĺĹ]")
_HIGH = re.compile(rb"[\x80-\xff]")
_BLANKS = re.compile("[ \t\n\r\u3000-\u3002\uff0c.,]")


def decode(data: bytes, declared: str | None = None) -> str:
    r"""`data` as text with "\n" line ends and no byte order mark.

    Args:
        declared: the encoding that the file itself names, if it does.

    Raises:
        DataError: the bytes are no text in any known encoding.
    """
    text = _decode(data, declared)
    if _is_binary(text):
        raise DataError("binary data, not text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decode(data: bytes, declared: str | None) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            text = _nearly(data[len(mark):], encoding)
            if text is None:
                raise DataError(f"begins as {encoding.upper()}, but goes on otherwise")
            return text
    if b"\x00" in data:
        text = _wide_without_a_mark(data)
        if text is None:
            raise DataError("binary data, not text")
        return text
    if b"\x1b$B" in data:
        declared = declared or "iso2022_jp"
        if (text := _nearly(data, declared)) is not None:
            return text
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    text = _mostly_utf8(data)
    if text is None and declared and not declared.lower().startswith("utf"):
        text = _nearly(data, _meant(declared))
    return text if text is not None else _guessed(data)


def known(encoding: str) -> bool:
    """Whether texts can be in it; headers name others too, such as unknown-8bit."""
    try:
        "a".encode(encoding)
    except (LookupError, ValueError):
        return False
    return True


def _meant(declared: str) -> str:
    return _MEANT.get(codecs.lookup(declared).name, declared) if known(declared) else declared


def _nearly(data: bytes, encoding: str) -> str | None:
    """The text, if all but a few of its characters are valid in `encoding`."""
    try:
        return data.decode(encoding)
    except (UnicodeDecodeError, LookupError, ValueError):
        pass
    try:
        text = data.decode(encoding, "replace")
    except (LookupError, ValueError):
        return None
    bad = text.count("\ufffd")
    return text if bad <= max(len(text) >= _ONE_IN, _DAMAGE * len(text)) else None


def _mostly_utf8(data: bytes) -> str | None:
    """The text, if its characters beyond ASCII are UTF-8 far more often than not."""
    text = data.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    beyond = len(text) - len(text.encode("ascii", "ignore"))
    return text if bad * 10 <= beyond - bad else None


def _wide_without_a_mark(data: bytes) -> str | None:
    """UTF-32 or UTF-16, whichever makes the bytes look like text, blanks above all."""
    best: tuple[float, str] | None = None
    for encoding in _WIDE:
        text = data[:65_536].decode(encoding, "replace").rstrip("\ufffd")
        if not text or _CONTROLS.search(text):
            continue
        odd = sum(unicodedata.category(c) in ("Cn", "Co") or c == "\ufffd" for c in text)
        blanks = len(_BLANKS.findall(text)) / len(text)
        if odd <= max(len(text) >= _ONE_IN, _DAMAGE * len(text)) and blanks > (
                best[0] if best else 0.005):
            best = blanks, encoding
    return None if best is None else _nearly(data, best[1])


def _guessed(data: bytes) -> str:
    from charset_normalizer import from_bytes

    sample = _sample(data)
    found = [match.encoding for match in from_bytes(sample, cp_isolation=list(_LEGACY))]
    for encoding in _STRICT if not found or found[0] not in _DOUBLE else ():
        # Without its stray bytes, is it that?
        text = _nearly(sample, encoding)
        if text is not None and "\ufffd" in text:
            clean = text.replace("\ufffd", "").encode(encoding, "ignore")
            best = from_bytes(clean, cp_isolation=list(_LEGACY)).best()
            if best is not None and best.encoding in (encoding, *_KIN.get(encoding, ())):
                return data.decode(encoding, "replace")
    for encoding in sorted(found, key=lambda name: (_symbols_in_words(sample, name),
                                                    name in _RARE)):
        text = _nearly(data, encoding)
        if text is not None and not _is_binary(text):
            return text
    raise DataError("binary data, or text in an unknown encoding", mend="Save it as UTF-8")


def _symbols_in_words(sample: bytes, encoding: str) -> int:
    """Signs inside of words, where a right guess has letters; and letters that are rarer still.

    What is r or l with an acute in the one code page is a with a grave or ring in the other.
    """
    return len(_SIGN_IN_WORD.findall(sample.decode(encoding, "replace")))


def _sample(data: bytes) -> bytes:
    """Lines that are not ASCII, from all over the file."""
    at, lines = 0, []
    for look in range(_LOOKS):
        high = _HIGH.search(data, max(at, look * len(data) // _LOOKS))
        if high is None:
            break
        begins = data.rfind(b"\n", 0, high.start()) + 1
        if high.start() - begins > _SAMPLE:
            begins = high.start()
        ends = data.find(b"\n", high.end()) + 1 or len(data)
        lines.append(data[begins:min(ends, begins + _SAMPLE)])
        at = ends
    sample = b"".join(lines)[:2 * _SAMPLE]
    # No character is cut: bytes below 0x30 are never the second half of one.
    cut = max((sample.rfind(byte) for byte in (b" ", b"\n", b",", b".")), default=-1)
    return sample[:cut + 1] if cut > 0 and len(sample) >= _SAMPLE else sample


def _is_binary(text: str) -> bool:
    head = text[:1_000_000]
    return "\x00" in text or len(_CONTROLS.findall(head)) > 0.02 * len(head)
