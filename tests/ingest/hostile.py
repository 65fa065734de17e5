"""Makes a folder of hostile files: `python tests/ingest/hostile.py FOLDER [--heavy]`.

Each case says what must become of it: a pattern of the one line that is told of it, or None
where it is to be read.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import hostile_parts as parts
from hostile_texts import ENCODINGS, RUSSIAN, odd


@dataclass(frozen=True)
class Placed:
    """What is no file of bytes: made by a call with its path."""

    make: Callable[[Path], object]


Make = bytes | str | Placed | Callable[[], bytes | str]


@dataclass(frozen=True)
class Case:
    """A file called `name`; `why`: what the line about it says, None if it is read."""

    name: str
    make: Make
    why: str | None
    heavy: bool = False

    def write(self, folder: Path) -> None:
        path = folder / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(self.make, Placed):
            self.make.make(path)
            return
        made = self.make() if callable(self.make) else self.make
        path.write_bytes(made if isinstance(made, bytes) else made.encode())


def encodings() -> Iterator[Case]:
    for encoding, text in ENCODINGS.items():
        yield Case(f"encodings/{encoding}.txt", (text * 6).encode(encoding), None)
        yield Case(f"encodings/{encoding}-odd.txt", odd(text, encoding), None)
    late = (RUSSIAN * 9000).encode()
    yield Case("encodings/odd-after-1-mib.txt", late + b"\xff" + RUSSIAN.encode(), None)
    yield Case("encodings/ascii-odd-after-1-mib.txt",
               b"The keeper checks the seal.\n" * 40_000 + b"\xe9 caf\xe9\n", None)


def lies() -> Iterator[Case]:
    png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)) * 4
    contents: dict[str, tuple[Make, str]] = {
        "pdf": (parts.pdf, "a PDF"), "docx": (parts.docx, "a DOCX"),
        "xlsx": (parts.xlsx, "a XLSX"), "pptx": (parts.pptx, "a PPTX"),
        "epub": (parts.epub, "a EPUB"), "png": (png, "a PNG picture"),
        "jpeg": (b"\xff\xd8\xff\xe0" + png, "a JPEG picture"),
        "gzip": (b"\x1f\x8b\x08" + png, "a gzip archive"),
        "zip": (parts.zipped({"a.txt": "text"}), "a zip archive"),
        "doc": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + png, "an old or encrypted Office file"),
        "elf": (b"\x7fELF\x02\x01\x01" + png, "a program"),
        "sqlite": (b"SQLite format 3\x00" + png, "an SQLite database"),
        "rtf": (rb"{\rtf1\ansi Text \par}", "RTF"), "noise": (png[8:], "binary data|no "),
        "text": ("This is text, and nothing else.\n", "no [A-Z]+"),
    }
    for kind, (make, what) in contents.items():
        for suffix in ("txt", "pdf", "docx", "xlsx", "epub", "html", "csv", "py"):
            if kind != suffix and not (kind == "text" and suffix in ("txt", "html", "csv", "py")):
                why = what if kind in ("text", "noise") else f"the content is {what}"
                yield Case(f"lies/{kind}.{suffix}", make, why)


def torn() -> Iterator[Case]:
    for suffix, make in (("docx", parts.docx), ("xlsx", parts.xlsx), ("pptx", parts.pptx),
                         ("epub", parts.epub), ("pdf", parts.pdf)):
        whole = make()
        for share in (0.05, 0.5, 0.9, 0.99):
            yield Case(f"torn/at-{share}.{suffix}", whole[:int(len(whole) * share)], "damaged")
        hurt = bytearray(whole)
        hurt[len(whole) // 3:2 * len(whole) // 3] = bytes(len(whole) // 3)
        yield Case(f"torn/zeros.{suffix}", bytes(hurt), "damaged|no text|unreadable|empty")


def bombs() -> Iterator[Case]:
    filler = b" " * 100_000_000
    yield Case("bombs/filler.docx", lambda: parts.rezipped(
        parts.docx(), word__document_xml=lambda old: old.replace(
            b"<w:body>", b"<w:body>" + filler)), "memory|damaged")
    yield Case("bombs/strings.xlsx", lambda: parts.with_strings(
        b"<sst>" + b"<si><t>a</t></si>" * 12_000_000 + b"</sst>"), "memory|not read", heavy=True)
    yield Case("bombs/chapter.epub", lambda: parts.epub({"a.xhtml": "<p>x" * 50_000_000}),
               "memory|not read within|no HTML", heavy=True)
    yield Case("bombs/overlapping.docx", parts.overlapping, "overlap")
    yield Case("bombs/claims.docx", lambda: parts.declaring(parts.docx(), 2**31), "unpacks to")
    yield Case("bombs/claims-less.docx", lambda: parts.declaring(parts.docx(), 10), "damaged")
    nested = parts.zipped({f"{at}.zip": parts.zipped({"0": b"\0" * 2**22}) for at in range(16)})
    yield Case("bombs/nested.docx", nested, "a zip archive")
    entries = {f"xl/{at}": "" for at in range(30_000)}
    yield Case("bombs/entries.xlsx", lambda: parts.zipped(entries), "30,000 entries")
    for suffix, make in (("docx", parts.docx), ("xlsx", parts.xlsx), ("epub", parts.epub)):
        yield Case(f"bombs/locked.{suffix}", parts.encrypted_zip(make()), "encrypted")


def laughs() -> Iterator[Case]:
    text = "<w:document xmlns:w='{w}'><w:body><w:p><w:r><w:t>&i;</w:t></w:r></w:p></w:body>" \
           "</w:document>".format(w="http://schemas.openxmlformats.org/wordprocessingml/2006/main")
    html = "<html><body><p>The tide turns. &i;</p></body></html>"
    sheet = parts.row(1, ("A", "part")) + parts.row(2, ("A", "&i;"))
    for kind, head in (("laughs", parts.LAUGHS), ("peek", parts.PEEK)):
        yield Case(f"entities/{kind}.docx", parts.rezipped(
            parts.docx(), word__document_xml=head + text), "no text|damaged")
        yield Case(f"entities/{kind}.xlsx", parts.rezipped(
            parts.xlsx(), xl__worksheets__sheet1_xml=head + "<worksheet xmlns='http://schemas."
            "openxmlformats.org/spreadsheetml/2006/main'><sheetData>" + sheet
            + "</sheetData></worksheet>"), "damaged")
        yield Case(f"entities/{kind}-opf.epub", parts.epub(opf_head=head),
                   r"damaged XML \('O/b\.opf'" if kind == "laughs" else None)
        yield Case(f"entities/{kind}.epub", parts.epub({"a.xhtml": head + html}), None)
        yield Case(f"entities/{kind}.html", head + html, None)
        yield Case(f"entities/{kind}.xml", head + "<x>&i;</x>", None)


def pdfs() -> Iterator[Case]:
    yield Case("pdf/locked.pdf", parts.locked_pdf("secret"), "encrypted")
    yield Case("pdf/empty-password.pdf", parts.locked_pdf(), None)
    leaf = b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 99 99]>>"
    top = b"<</Type /Catalog /Pages 2 0 R>>"
    yield Case("pdf/cyclic-tree.pdf", parts.raw_pdf(
        [top, b"<</Type /Pages /Kids [2 0 R 3 0 R] /Count 2>>", leaf]), "damaged|no text")
    yield Case("pdf/cyclic-parents.pdf", parts.raw_pdf(
        [top, b"<</Type /Pages /Kids [3 0 R] /Count 1 /Parent 3 0 R>>",
         b"<</Type /Pages /Kids [2 0 R] /Count 1 /Parent 2 0 R>>"]), "damaged|no text")
    yield Case("pdf/no-pages.pdf", parts.raw_pdf([b"<</Type /Catalog>>"]), "damaged|no text")
    yield Case("pdf/endless-count.pdf", parts.raw_pdf(
        [top, b"<</Type /Pages /Kids [3 0 R] /Count 999999999>>", leaf]),
        "damaged|no text|memory|not read within")
    yield Case("pdf/cyclic-xref.pdf", parts.raw_pdf(
        [top, b"<</Type /Pages /Kids [3 0 R] /Count 1>>", leaf], trailer="/Root 1 0 R /Prev XREF"),
        "damaged|no text")
    yield Case("pdf/flate-bomb.pdf", lambda: parts.page_pdf(parts.stream(
        parts.squeezed(b" ", 2**28))), "damaged|no text|memory|not read within")
    yield Case("pdf/flate-twice.pdf", lambda: parts.page_pdf(parts.stream(
        parts.squeezed(b" ", 2**28, 2), b"/Filter [/FlateDecode /FlateDecode]")),
        "damaged|no text|memory|not read within")
    yield Case("pdf/operators.pdf", lambda: parts.page_pdf(parts.stream(
        parts.squeezed(b"q\n", 3 * 2**24))), "memory|not read within|no text|damaged", heavy=True)
    form = b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources <</XObject <</F 5 0 R>>>>"
    yield Case("pdf/form-in-itself.pdf", parts.page_pdf(
        parts.stream(b"/F Do", b""), parts.stream(b"/F Do /F Do", form),
        resources=b"/XObject <</F 5 0 R>>"), "damaged|no text")
    yield Case("pdf/deep-array.pdf", parts.page_pdf(b"[" * 50_000), "damaged|no text")
    yield Case("pdf/length-of-itself.pdf", parts.page_pdf(
        b"<</Length 4 0 R>>\nstream\nBT (x) Tj ET\nendstream"), "damaged|no text")
    yield Case("pdf/scan.pdf", parts.page_pdf(parts.stream(b"/I Do", b""), parts.stream(
        b"\0", b"/Type /XObject /Subtype /Image /Width 1 /Height 1 /BitsPerComponent 8 "
        b"/ColorSpace /DeviceGray"), resources=b"/XObject <</I 5 0 R>>"), "no text on its 1 page")


def rows() -> Iterator[Case]:
    million = ",".join(f"c{at}" for at in range(1_000_000))
    yield Case("rows/million-columns.csv", f"{million}\n{million}\n", "1,000,000 columns")
    yield Case("rows/million-cells.csv", f"a,b\n{million}\n", "1,000,000 columns")
    yield Case("rows/huge-field.csv", "a,b\n1," + "x" * 5_000_000 + "\n", "field larger")
    yield Case("rows/open-quote.csv", 'a,b\n1,"' + "x,y\n" * 500_000, "rows are too many")
    yield Case("rows/nul.csv", b"a,b\n1,\x002\n", "binary")
    yield Case("rows/delimiters.csv", ",,,,\n" * 1000, "no rows")
    yield Case("rows/many.csv", "a,b\n" + "1,2\n" * 300_000, "300,000 rows")
    yield Case("rows/2-gb.csv", sparse(2 * 2**30), "too much", heavy=True)
    yield Case("rows/65-mib.csv", sparse(65 * 2**20), "too much")
    yield Case("rows/deep.json", "[" * 100_000 + "]" * 100_000, "cannot be read")
    yield Case("rows/deep-objects.json", '{"a":' * 100_000 + "1" + "}" * 100_000,
               "cannot be read")
    yield Case("rows/digits.json", '{"n": ' + "9" * 100_000 + "}", "cannot be read")
    yield Case("rows/open.json", '{"a": [1, 2', "not JSON")
    yield Case("rows/wide.json", json.dumps({f"k{at}": at for at in range(5_000)}), None)
    yield Case("rows/bad-lines.jsonl", "{oops\n" * 50_000, "line 1: not JSON")
    yield Case("rows/bom-lines.jsonl", b"\xef\xbb\xbf\n\xef\xbb\xbf\n", "not JSON|no text")
    yield Case("rows/dimension.xlsx", lambda: parts.sheet(
        parts.row(1, ("A", "part")) + parts.row(2, ("A", "M8")), "A1:XFD1048576"), None)
    yield Case("rows/far-row.xlsx", lambda: parts.sheet(
        parts.row(1, ("A", "part")) + parts.row(1_048_576, ("A", "M8"))), None)
    yield Case("rows/empty-rows.xlsx", lambda: parts.sheet(
        parts.row(1, ("A", "part")) + "".join(f"<row r='{at}'/>" for at in range(2, 1_000_000))),
        "no rows")
    yield Case("rows/beyond.xlsx", lambda: parts.sheet(
        parts.row(1, ("A", "part")) + parts.row(2**40, ("A", "M8"))), "not read", heavy=True)
    yield Case("rows/wide.xlsx", lambda: parts.sheet("".join(
        parts.row(at, ("A", "x"), ("XFD", "y")) for at in range(1, 500))), None)


def sparse(size: int) -> Make:
    def make(path: Path) -> None:
        with path.open("wb") as out:
            out.write(b"a,b\n1,2\n")
            out.truncate(size)

    return Placed(make)


def markup() -> Iterator[Case]:
    yield Case("markup/deep.html", "<div>" * 100_000 + "deep", "no text")
    yield Case("markup/open.html", "<" * 200_000, "no text|no HTML")
    yield Case("markup/attributes.html", "<p " + "a=1 " * 300_000 + ">some words</p>", None)
    yield Case("markup/script.html", "<script>document.write('words')</script>", "no text")
    yield Case("markup/brackets.md", "[" * 20_000 + "a", None)
    yield Case("markup/quotes.md", ">" * 20_000 + "a", None)
    yield Case("markup/stars.md", "*a **a " * 5_000, None)
    yield Case("markup/ticks.md", "".join("`" * at + "a" for at in range(1, 300)), None)
    yield Case("markup/lists.md", "".join("  " * at + "- a\n" for at in range(300)), None)
    yield Case("markup/one-line.js", "var a=1;" * 20_000, None)
    yield Case("markup/blanks.py", " " * 2_000_000 + "x", None)


def mails() -> Iterator[Case]:
    yield Case("mail/ten-thousand-parts.eml", parts.mail_of_parts(10_000), None)
    yield Case("mail/deep.eml", parts.mail_of_parts(5_000, nested=True), "cannot be read|no text")
    yield Case("mail/no-headers.eml", "Only words.\n", "no e-mail")
    yield Case("mail/huge-header.eml", parts.mail(Subject="word " * 20_000), None)
    yield Case("mail/charset.eml", parts.mail(Content_Type="text/plain; charset=x-none"), None)
    yield Case("mail/base64.eml", parts.mail(
        "!!!! no base64 !!!!", Content_Type="text/plain", Content_Transfer_Encoding="base64"), None)
    yield Case("mail/date.eml", parts.mail(Date="\x01 yesterday (((", To="<<>>,,,@"), None)
    yield Case("mail/no-box.mbox", parts.mail(), "no mailbox")
    yield Case("mail/bad-message.mbox", b"From x\n\nnothing\n", "message 1")


def nothing() -> Iterator[Case]:
    for at, mark in enumerate((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0",
                               b"\0\0\xfe\xff")):
        yield Case(f"nothing/bom-{at}.txt", mark, "no text")
    for suffix in ("txt", "pdf", "docx", "xlsx", "csv", "json", "eml", "epub", "html"):
        yield Case(f"nothing/empty.{suffix}", b"", "empty")
    yield Case("nothing/blanks.txt", " \n\t\r\n" * 1000, "empty")
    yield Case("nothing/nul.txt", b"\0" * 4096, "binary")
    yield Case("nothing/one-nul.md", b"some words " * 9 + b"\0" + b" more words" * 9, "binary")
    yield Case("nothing/dots.md", "... --- ***\n" * 9, "no text")
    yield Case("nothing/unseen.txt", "\u200b\u2060\ufeff" * 50, "no text")
    yield Case("nothing/controls.txt", b"\x01\x02\x03\x04words" * 50, "binary")
    yield Case("nothing/noise.txt", bytes(1 + (at * at * 31 + at // 7) % 255 for at in
                                          range(5000)), "binary")


def places() -> Iterator[Case]:
    yield Case("places/fifo.txt", Placed(os.mkfifo), "named pipe")
    yield Case("places/socket.txt", Placed(_socket), "device or socket")
    yield Case("places/dangling.txt", link("nowhere"), "points at nothing")
    yield Case("places/" + os.fsdecode(b"\xff-\x07.txt"), link("nowhere"), "points at nothing")
    yield Case("places/itself.txt", link("itself.txt"), "leads to itself")
    yield Case("places/there.txt", link("back.txt"), "leads to itself")
    yield Case("places/back.txt", link("there.txt"), "leads to itself")
    yield Case("places/out.txt", link("/etc/passwd"), "out of the folder")
    yield Case("places/up.txt", link("../../../../../../../../etc/hosts"), "out of the folder")
    yield Case("places/device.txt", link("/dev/zero"), "out of the folder")
    yield Case("places/home", link(".."), "folder that it lies in")
    for name in ("bell\x07.txt", "line\nend.txt", "right\u202eto-left.txt", "esc\x1b[31m.txt",
                 "zero\u200bwidth.txt", os.fsdecode(b"\xff\xfe-bytes.txt")):
        yield Case(f"places/{name}", "words in a file", "not printable")
    yield Case("places/" + "n" * 250 + ".txt", "words under a long name", None)
    yield Case("places/ -rf *.txt", "words under an odd name", None)
    if os.geteuid() != 0:  # root reads all
        yield Case("places/unreadable.txt", Placed(_unreadable), "permission denied")


def link(target: str) -> Make:
    return Placed(lambda path: path.symlink_to(target))


def _socket(path: Path) -> None:
    import socket

    here = os.getcwd()
    os.chdir(path.parent)  # paths of sockets are short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)
    os.chdir(here)


def _unreadable(path: Path) -> None:
    path.write_text("words")
    path.chmod(0)


def cases(*, heavy: bool = False) -> list[Case]:
    """All of them, the ones that take long or much only if asked for."""
    groups = (encodings, lies, torn, bombs, laughs, pdfs, rows, markup, mails, nothing, places)
    return [case for group in groups for case in group() if heavy or not case.heavy]


if __name__ == "__main__":
    for one in cases(heavy="--heavy" in sys.argv):
        with suppress(FileExistsError):
            one.write(Path(sys.argv[1]))
