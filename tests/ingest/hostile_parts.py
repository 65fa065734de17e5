"""Files of every format, good ones and such as are made to do harm; as bytes."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib

LAUGHS = ("<!DOCTYPE x [<!ENTITY a 'ha ha ha ha ha ha ha ha '>"
          + "".join(f"<!ENTITY {b} '{f'&{a};' * 12}'>" for a, b in zip("abcdefgh", "bcdefghi",
                                                                       strict=True)) + "]>")
PEEK = "<!DOCTYPE x [<!ENTITY i SYSTEM 'file:///etc/passwd'>]>"


def saved(thing):
    out = io.BytesIO()
    thing.save(out)
    return out.getvalue()


def docx(*paragraphs):
    import docx as library

    document = library.Document()
    document.add_heading("Winches", 1)
    for text in paragraphs or ("A winch pulls fourteen kilonewtons.",) * 20:
        document.add_paragraph(text)
    return saved(document)


def xlsx(rows=(("part", "torque"), ("M8", 25), ("M10", 49))):
    import openpyxl

    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    return saved(book)


def pptx(*titles):
    import pptx as library

    show = library.Presentation()
    for title in titles or ("Mooring",):
        slide = show.slides.add_slide(show.slide_layouts[1])
        slide.shapes.title.text, slide.placeholders[1].text = title, "Use two lines per bollard."
        slide.notes_slide.notes_text_frame.text = "Ask about the tide."
    return saved(show)


def zipped(entries, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return out.getvalue()


def rezipped(data, **changed):
    """The archive with entries replaced; '/' and '.' of their names as '__' and '_'."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    for key, value in changed.items():
        name = next(n for n in entries if re.sub(r"[./\[\]]", "_", n.replace("/", "__")) == key)
        entries[name] = value(entries[name]) if callable(value) else value
    return zipped(entries)


def with_strings(data):
    """A workbook with this XML for its table of strings."""
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    book = rezipped(xlsx(), _Content_Types__xml=lambda old: old.replace(
        b"</Types>", f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kind}"/></Types>'
        .encode()))
    out = io.BytesIO(book)
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", data)
    return out.getvalue()


def epub(chapters=None, *, opf_head="", extra=None):
    chapters = chapters or {"one.xhtml": "<html><body><h1>Tides</h1><p>They turn twice a day."
                                         "</p></body></html>"}
    items = "".join(f"<item id='i{at}' href='{name}' media-type='application/xhtml+xml'/>"
                    for at, name in enumerate(chapters))
    refs = "".join(f"<itemref idref='i{at}'/>" for at in range(len(chapters)))
    title = "&i;" if opf_head else "The Tide Book"
    return zipped({
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": "<container><rootfiles><rootfile full-path='O/b.opf'/>"
                                  "</rootfiles></container>",
        "O/b.opf": f"{opf_head}<package><metadata><title>{title}</title></metadata>"
                   f"<manifest>{items}</manifest><spine>{refs}</spine></package>",
        **{f"O/{name}": text for name, text in chapters.items()}, **(extra or {})})


def overlapping():
    """One stretch of ten million bytes under two hundred names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b" " * 10_000_000)
        first = archive.infolist()[0]
        for at in range(200):
            twin = zipfile.ZipInfo(f"word/{at}.xml")
            for field in ("header_offset", "compress_size", "file_size", "CRC", "compress_type",
                          "flag_bits"):
                setattr(twin, field, getattr(first, field))
            archive.filelist.append(twin)
    return out.getvalue()


def declaring(data, size):
    """The archive, every entry of which claims to unpack to `size` bytes."""
    out = bytearray(data)
    for mark, at in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        start = out.find(mark)
        while start >= 0:
            out[start + at:start + at + 4] = struct.pack("<I", size)
            start = out.find(mark, start + 4)
    return bytes(out)


def encrypted_zip(data):
    """The archive with the flag that says so."""
    out = bytearray(data)
    start = out.find(b"PK\x01\x02")
    while start >= 0:
        out[start + 8] |= 1
        start = out.find(b"PK\x01\x02", start + 4)
    return bytes(out)


def pdf(*pages):
    from reportlab.pdfgen import canvas

    out = io.BytesIO()
    page = canvas.Canvas(out)
    for text in pages or ("The gate opens at seven.", "The winch needs grease."):
        page.drawString(72, 720, text)
        page.showPage()
    page.save()
    return out.getvalue()


def locked_pdf(password="", **options):
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf())))
    writer.encrypt(password, "owner", algorithm="RC4-128", **options)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def raw_pdf(objects, *, trailer="/Root 1 0 R"):
    """A PDF of these objects (bytes, numbered from 1) with a right cross-reference table."""
    out, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + (b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<</Size %d %s>>\nstartxref\n%d\n"
                  b"%%%%EOF\n" % (len(objects) + 1, table, len(objects) + 1,
                                  trailer.replace("XREF", str(len(out))).encode(), len(out)))


def stream(data, extra=b"/Filter /FlateDecode"):
    return b"<</Length %d %s>>\nstream\n%s\nendstream" % (len(data), extra, data)


def page_pdf(content, *more, resources=b""):
    """A PDF of one page with this content stream object; `more` are objects 5, 6, …"""
    return raw_pdf([b"<</Type /Catalog /Pages 2 0 R>>",
                    b"<</Type /Pages /Kids [3 0 R] /Count 1>>",
                    b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents 4 0 R "
                    b"/Resources <</Font <</A <</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>"
                    b">> %s>>>>" % resources, content, *more])


def squeezed(byte, count, times=1):
    """`count` equal bytes, deflated `times` over, made without holding them."""
    packer = zlib.compressobj(9)
    block = byte * 2**20
    data = b"".join(packer.compress(block) for _ in range(count // 2**20)) + packer.flush()
    for _ in range(times - 1):
        data = zlib.compress(data, 9)
    return data


def mail(body="The pump was changed on Monday.", **headers):
    fields = {"From": "a@example.org", "To": "b@example.org", "Subject": "The pump", **headers}
    return ("".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
            + f"\r\n{body}\r\n").encode()


def mail_of_parts(count, nested=False):
    head = mail("", MIME_Version="1.0", Content_Type='multipart/mixed; boundary="b0"').rstrip()
    if nested:
        inner = b"".join(b'--b%d\r\nContent-Type: multipart/mixed; boundary="b%d"\r\n\r\n'
                         % (at, at + 1) for at in range(count))
        return head + b"\r\n\r\n" + inner + b"--b%d\r\n\r\ndeep\r\n" % count
    part = (b"--b0\r\nContent-Type: application/x-a\r\nContent-Disposition: attachment; "
            b"filename=a.bin\r\n\r\nx\r\n")
    return head + b"\r\n\r\n--b0\r\n\r\nTen thousand attachments.\r\n" + part * count + b"--b0--"


def sheet(rows, dimension="A1:B3"):
    """A workbook with this XML for rows."""
    return rezipped(xlsx(), xl__worksheets__sheet1_xml=(
        "<worksheet xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main'>"
        f"<dimension ref='{dimension}'/><sheetData>{rows}</sheetData></worksheet>"))


def row(number, *cells):
    return (f"<row r='{number}'>" + "".join(
        f"<c r='{place}{number}' t='inlineStr'><is><t>{text}</t></is></c>"
        for place, text in cells) + "</row>")
