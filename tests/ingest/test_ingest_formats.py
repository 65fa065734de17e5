from __future__ import annotations

import io
import re
import zipfile
from datetime import datetime
from email.message import EmailMessage

import hostile_parts
import pytest
from lxml import etree
from pptx.oxml.ns import _nsmap as pptx_names
from word_embedder import WordEmbedder

from phi3kit.errors import DataError
from phi3kit.ingest.chunking import Chunker
from phi3kit.ingest.readers import mail, read_document


def read(name, data, tmp_path):
    return read_document(tmp_path / name, data.encode() if isinstance(data, str) else data)


def parts(document):
    return [document.text[p.start:p.end] for p in document.parts]


def test_pptx_slides_are_pages(tmp_path):
    document = read("a.pptx", hostile_parts.pptx("Mooring", "Tides"), tmp_path)
    assert [p.page for p in document.parts] == [1, 2]
    assert parts(document)[0] == (
        "# Mooring\n\nUse two lines per bollard.\n\nAsk about the tide.")
    assert [document.text[h.start:h.end] for h in document.headings] == ["# Mooring", "# Tides"]


def under(document):
    """The headings above each chunk, and its last line."""
    chunks = Chunker(WordEmbedder().tokenizer, 256, 64).chunk(document, "a")
    return [(c.heading, c.text.splitlines()[-1]) for c in chunks]


def test_pptx_slides_without_a_title_do_not_stand_under_the_one_before(tmp_path):
    document = read("a.pptx", hostile_parts.pptx("Mooring", "", "Tides"), tmp_path)
    assert [heading for heading, _ in under(document)] == ["Mooring", "", "Tides"]


def test_pptx_tables_and_groups(tmp_path):
    from pptx import Presentation
    from pptx.util import Inches

    show = Presentation()
    slide = show.slides.add_slide(show.slide_layouts[6])
    table = slide.shapes.add_table(2, 2, 0, 0, Inches(3), Inches(1)).table
    for at, text in enumerate(("Model", "Pull", "W-9", "14 kN")):
        table.cell(at // 2, at % 2).text = text
    slide.shapes.add_group_shape().shapes.add_textbox(0, 0, 9, 9).text_frame.text = "grouped"
    assert read("a.pptx", hostile_parts.saved(show), tmp_path).text == (
        "| Model | Pull |\n| --- | --- |\n| W-9 | 14 kN |\n\ngrouped")


def test_pptx_charts_and_smartart_are_read(tmp_path):
    from pptx import Presentation
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.opc.package import Part
    from pptx.opc.packuri import PackURI

    show = Presentation()
    slide = show.slides.add_slide(show.slide_layouts[6])
    data = CategoryChartData()
    data.categories = ["Jul", "Aug"]
    data.add_series("Lifts", (412, None))
    data.add_series("Share", (0.1, 0.25))
    slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, 0, 9, 9, data)
    part = Part(PackURI("/ppt/diagrams/data1.xml"), "application/xml", show.part.package,
                b"<d xmlns:a='u'><a:p><a:t>Order</a:t></a:p><a:p/><a:p><a:t>Ship</a:t></a:p></d>")
    frame = slide.shapes.add_table(1, 1, 0, 0, 9, 9)._element.graphic.graphicData
    frame.remove(frame[0])
    frame.set("uri", "diagram")
    frame.append(etree.fromstring(
        f"<dgm:relIds xmlns:dgm='d' xmlns:r='{pptx_names['r']}' r:dm='"
        f"{slide.part.relate_to(part, 'diagramData')}'/>"))
    assert read("a.pptx", hostile_parts.saved(show), tmp_path).text == (
        "|  | Lifts | Share |\n| --- | --- | --- |\n| Jul | 412 | 0.1 |\n| Aug |  | 0.25 |\n\n"
        "- Order\n\n- Ship")


def test_xlsx_rows_stand_under_their_sheet(tmp_path):
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "Torques"
    for row in ((), ("part", "torque", None), ("M8", 25, "dry"), (None, None), ("M10", 49.5),
                ("M12", 0.1 + 0.2)):
        book.active.append(row)
    book.create_sheet("Dates").append(("day",))
    book["Dates"].append((datetime(2024, 5, 17),))
    document = read("a.xlsx", hostile_parts.saved(book), tmp_path)
    assert parts(document) == ["part: M8\ntorque: 25\ncolumn 3: dry", "part: M10\ntorque: 49.5",
                               "part: M12\ntorque: 0.3", "day: 2024-05-17"]
    assert [(h.title, h.start == h.end) for h in document.headings] == [
        ("Torques", True), ("Dates", True)]
    assert document.headings[1].start == document.parts[3].start


def test_epub_in_the_order_of_its_spine(tmp_path):
    chapters = {f"{name}.xhtml": f"<html><body><h1>{name}</h1><p>About {name}.</p></body></html>"
                for name in ("zinc", "brass")}
    document = read("a.epub", hostile_parts.epub(chapters), tmp_path)
    assert [(h.level, h.title) for h in document.headings] == [
        (0, "The Tide Book"), (1, "zinc"), (1, "brass")]
    assert len(document.parts) == 2 and "About brass." in parts(document)[1]


NAV = ("<html xmlns='http://www.w3.org/1999/xhtml' xmlns:e='http://www.idpf.org/2007/ops'><body>"
       "<nav e:type='toc'><ol><li><a href='p.xhtml'>Part I</a><ol><li><a href='a.xhtml#t'>1. Ebb"
       "</a><ol><li><a href='a.xhtml#s'>Slack</a></li></ol></li><li><a href='b.xhtml'>2. Flood</a>"
       "</li></ol></li><li><span>Part II</span><ol><li><a href='d.xhtml'>3. Surge</a></li></ol>"
       "</li></ol></nav></body></html>")
NCX = ("<ncx><navMap><navPoint><navLabel><text>Part I</text></navLabel><content src='p.xhtml'/>"
       "<navPoint><navLabel><text>1. Ebb</text></navLabel><content src='a.xhtml#t'/></navPoint>"
       "<navPoint><navLabel><text>2. Flood</text></navLabel><content src='b.xhtml'/></navPoint>"
       "</navPoint><navPoint><navLabel><text>Part II</text></navLabel><content src='q.xhtml'/>"
       "<navPoint><navLabel><text>3. Surge</text></navLabel><content src='d.xhtml'/></navPoint>"
       "</navPoint></navMap></ncx>")


@pytest.mark.parametrize(("contents", "kind"), [
    (NAV, "media-type='application/xhtml+xml' properties='nav'"),
    (NCX, "media-type='application/x-dtbncx+xml'"),
])
def test_epub_chapters_stand_under_the_titles_of_its_contents(contents, kind, tmp_path):
    chapters = {"p.xhtml": "<p>Of tides.</p>", "a.xhtml": "<h1>Ebb</h1><p>It falls.</p><h2>Slack"
                "</h2><p>It rests.</p>", "b.xhtml": "<p>It rises.</p>", "c.xhtml": "<p>More.</p>",
                "d.xhtml": "<h2>Storm</h2><p>It roars.</p>", "e.xhtml": "<p>Words.</p>"}
    pages = {name: f"<html><head><title>{'Index' if name[0] == 'e' else 'The Tide Book'}</title>"
             f"</head><body>{body}</body></html>" for name, body in chapters.items()}
    book = hostile_parts.rezipped(
        hostile_parts.epub(pages, extra={"O/toc.xml": contents}), O__b_opf=lambda opf: opf.replace(
            b"</manifest>", f"<item id='toc' href='toc.xml' {kind}/></manifest>".encode()))
    document = read("a.epub", book, tmp_path)
    paths = dict.fromkeys(("Of tides.", "It falls.", "It rests.", "It rises.", "More.",
                           "It roars.", "Words."))
    for words in paths:
        above = []
        for heading in document.headings:
            if heading.start <= document.text.index(words):
                above = [h for h in above if h.level < heading.level] + [heading]
        paths[words] = " > ".join(h.title for h in above[1:])
    assert document.headings[0].title == "The Tide Book"
    assert paths == {
        "Of tides.": "Part I", "It falls.": "Part I > Ebb", "It rests.": "Part I > Ebb > Slack",
        "It rises.": "Part I > 2. Flood", "More.": "Part I > 2. Flood",
        "It roars.": "Part II > 3. Surge > Storm", "Words.": "Index"}


def test_epub_without_contents_has_the_titles_of_its_pages(tmp_path):
    pages = {f"{name}.xhtml": f"<html><head><title>{name}</title></head><body>{body}</body></html>"
             for name, body in (("Docks", "<p>For cold goods.</p>"), ("Bridge", "<h1>Bridge</h1>"))}
    document = read("a.epub", hostile_parts.epub(pages), tmp_path)
    assert [(h.level, h.title) for h in document.headings[1:]] == [(1, "Docks"), (1, "Bridge")]


def test_an_epub_without_one_of_its_chapters(tmp_path):
    book = hostile_parts.epub({"a.xhtml": "<p>Words.</p>", "b.xhtml": "<p>More.</p>"})
    with zipfile.ZipFile(io.BytesIO(book)) as archive:
        left = {name: archive.read(name) for name in archive.namelist() if "b.xhtml" not in name}
    document = read("a.epub", hostile_parts.zipped(left), tmp_path)
    assert document.text == "Words."
    assert [problem.where for problem in document.problems] == ["O/b.xhtml"]


def test_mail_prefers_text_and_names_attachments(tmp_path):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@x.org", "b@x.org", "Die Tür"
    message.set_content("The text, with ümlauts.")
    message.add_alternative("<p>The HTML.</p>", subtype="html")
    message.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="plan.pdf")
    document = read("a.eml", message.as_bytes(), tmp_path)
    assert document.text == ("# Die Tür\n\nFrom: a@x.org\nTo: b@x.org\n\n"
                             "Attachments: plan.pdf\n\nThe text, with ümlauts.")


def test_mail_of_html_alone(tmp_path):
    data = hostile_parts.mail("<h2>Pump</h2><p>It stopped.</p>", Content_Type="text/html")
    document = read("a.eml", data, tmp_path)
    assert "It stopped." in document.text
    assert [h.title for h in document.headings] == ["The pump", "Pump"]


@pytest.mark.parametrize(("charset", "said"), [
    ("iso-8859-1", "el señor"), ("koi8-r", "Насос остановлен"), ("gb2312", "水泵已停"),
    ("shift_jis", "ポンプは停止"), ("windows-1254", "şefe bildirin")])
def test_mail_of_html_is_in_the_letters_that_its_header_names(charset, said, tmp_path):
    head = f"Subject: x\r\nContent-Type: text/html; charset={charset}\r\n"
    data = (f"{head}Content-Transfer-Encoding: 8bit\r\n\r\n".encode()
            + f"<p>{said}</p>".encode(charset))
    assert said in read("a.eml", data, tmp_path).text


@pytest.mark.parametrize(("charset", "written", "said"), [
    ("iso-8859-1", "cp1252", "“Stop” – it’s 5 €"), ("iso-8859-9", "cp1254", "“Işıl” ığdır"),
    ("gb2312", "gbk", "朱镕基水泵"), ("shift_jis", "cp932", "①ポンプ㈱の髙橋")])
@pytest.mark.parametrize("kind", ["plain", "html"])
def test_mail_whose_header_names_less_than_was_written(kind, charset, written, said, tmp_path):
    head = f"Subject: x\r\nContent-Type: text/{kind}; charset={charset}\r\n"
    body = f"<p>{said}</p>" if kind == "html" else said
    data = f"{head}Content-Transfer-Encoding: 8bit\r\n\r\n".encode() + body.encode(written)
    assert said in read("a.eml", data, tmp_path).text


def test_mail_of_html_whose_header_names_no_letters_is_in_those_that_the_page_names(tmp_path):
    head = b"Subject: x\r\nContent-Type: text/html; charset=unknown-8bit\r\n\r\n"
    page = '<meta charset="iso-8859-1"><p>el señor</p>'.encode("iso-8859-1")
    assert "el señor" in read("a.eml", head + page, tmp_path).text


def test_a_page_is_in_the_letters_that_its_xml_declaration_names(tmp_path):
    page = '<?xml version="1.0" encoding="iso-8859-1"?>\n<html><body><p>el señor</p></body></html>'
    assert read("a.html", page.encode("iso-8859-1"), tmp_path).text == "el señor"


def test_mail_of_html_with_a_title_stands_under_its_subject(tmp_path):
    page = f"<title>Newsletter</title><h1>Pump</h1><p>{'It stopped. ' * 60}</p>"
    data = multipart("mixed", ("Content-Type: text/html", page),
                     ("Content-Type: text/plain", "Sent by the list. " * 60))
    document = read("a.eml", data, tmp_path)
    found = under(document)
    assert {heading for heading, text in found if text.startswith("It stopped")} == {
        "The pump > Pump"}
    assert {heading for heading, text in found if text.startswith("Sent by")} == {"The pump"}
    assert not any("Newsletter" in heading for heading, _ in found)


def test_mbox_messages_do_not_stand_under_the_ones_before(tmp_path):
    page = hostile_parts.mail("<title>T</title><h2>Part</h2><p>One.</p>", Content_Type="text/html")
    without = b"From: a@x.org\n\nTwo.\n"
    box = b"".join(b"From a@x.org Mon\n" + message.replace(b"\r", b"") + b"\n" for message in (
        page, without, hostile_parts.mail("Three.", Subject="S3")))
    assert under(read("a.mbox", box, tmp_path)) == [
        ("The pump", "One."), ("", "Two."), ("S3", "Three.")]


@pytest.mark.parametrize("header", [
    'From: "', "From: <", "From: a@[", "To: u:;;", 'Content-Type: text/plain; name="',
    "Subject: =?utf-8?q?"])
def test_a_header_that_cannot_be_parsed_costs_no_other_message(header, tmp_path):
    box = (f"From a\n{header}\nTo: b@x.org\n\nOne.\n\n"
           "From a\nFrom: a@x.org\n\nTwo.\n").encode()
    document = read("a.mbox", box, tmp_path)
    assert parts(document)[-1].endswith("Two.")
    assert [p.where for p in document.problems] in ([], ["message 1"])
    assert document.problems or parts(document)[0].endswith("One.")


@pytest.mark.parametrize("header", ['From: "', "From: <", "From: a@[", "To: u:;;"])
def test_a_mail_is_one_whatever_its_headers_hold(header, tmp_path):
    assert read("a.eml", f"{header}\n\nOne.\n", tmp_path).text.endswith("One.")


def test_one_bad_message_is_one_problem(tmp_path, monkeypatch):
    def broken(data):
        if b"One" in data:
            raise IndexError("string index out of range")
        return real(data)

    real = mail.read
    monkeypatch.setattr(mail, "read", broken)
    box = b"From a\nFrom: a@x\n\nOne.\n\nFrom a\nFrom: a@x.org\n\nTwo.\n"
    document = read("a.mbox", box, tmp_path)
    assert [(p.where, p.why) for p in document.problems] == [
        ("message 1", "it cannot be read (IndexError: string index out of range)")]
    assert parts(document)[0].endswith("Two.")


def test_mbox_messages(tmp_path):
    box = b"".join(b"From a@x.org Mon\n" + hostile_parts.mail(
        f"Body {at}.\nFrom here on.", Subject=f"S{at}").replace(b"\r", b"") + b"\n"
        for at in range(3))
    document = read("a.mbox", box, tmp_path)
    assert [h.title for h in document.headings] == ["S0", "S1", "S2"]
    assert len(document.parts) == 3 and "From here on." in parts(document)[2]


def test_mbox_lines_are_as_they_were_written(tmp_path):
    box = b"From a\n" + hostile_parts.mail(
        "It runs.\n>From Monday on it hums.\n>>From the log.\n> From me").replace(b"\r", b"")
    assert read("a.mbox", box, tmp_path).text.endswith(
        "It runs.\nFrom Monday on it hums.\n>From the log.\n> From me")


@pytest.mark.parametrize(("name", "source", "names"), [
    ("a.py", "class Lock:\n    def open(self):\n        pass\n# class of things\n",
     [(1, "Lock"), (2, "open")]),
    ("a.ts", "export async function go() {}\nexport class A extends B {\n", [(1, "go"), (1, "A")]),
    ("a.go", "func (l *Lock) Open(x int) error {\n", [(1, "Open")]),
    ("a.rs", "pub(crate) fn open<T>(x: T) {\nimpl Gate for Lock {\n", [(1, "open"), (1, "Gate")]),
    ("a.c", "static void *open(int x)\n{\n  return go(x);\n}\n", [(1, "open")]),
    ("a.sql", "CREATE TABLE IF NOT EXISTS gates (id int);\n", [(1, "gates")]),
    ("a.toml", "[tool.gate]\nx = 1\n", [(1, "tool.gate")]),
    ("a.yaml", "type: gate\nclass: lock\n", []),
])
def test_code_knows_what_it_defines(name, source, names, tmp_path):
    document = read(name, source, tmp_path)
    assert document.text == source
    assert [(h.level, h.title) for h in document.headings] == names


def multipart(kind, *parts):
    """A mail of these (headers, text)."""
    inner = "".join(f"--b\r\n{head}\r\n\r\n{text}\r\n" for head, text in parts)
    return hostile_parts.mail(f"{inner}--b--", MIME_Version="1.0",
                              Content_Type=f'multipart/{kind}; boundary="b"')


@pytest.mark.parametrize(("kind", "mail_parts", "told"), [
    ("mixed", [("Content-Type: text/plain", "Before it."),
               ("Content-Type: image/png; name=p.png", "x"),
               ("Content-Type: text/plain", "After it.")],
     "Attachments: p.png\n\nBefore it.\n\nAfter it."),
    ("alternative", [("Content-Type: text/plain", " "),
                     ("Content-Type: text/html", "<p>In HTML.</p>")], "In HTML."),
    ("mixed", [("Content-Type: text/plain", "See below."),
               ("Content-Type: message/rfc822", "From: c@x\r\nSubject: First\r\n\r\nIt hums.")],
     "See below.\n\n# First\n\nFrom: c@x\n\nIt hums."),
    ("mixed", [("Content-Type: text/plain; name=a.txt", "Named, and alone.")],
     "Attachments: a.txt\n\nNamed, and alone."),
])
def test_mail_loses_none_of_its_texts(kind, mail_parts, told, tmp_path):
    document = read("a.eml", multipart(kind, *mail_parts), tmp_path)
    assert document.text.endswith(f"To: b@example.org\n\n{told}")
    assert all(document.text[h.start:h.end] == f"# {h.title}" for h in document.headings)


def test_a_text_of_a_mail_that_cannot_be_read_does_not_stop_the_others(tmp_path):
    data = multipart("mixed", ("Content-Type: text/plain", "Good."),
                     ("Content-Type: text/plain", "\x01\x02\x03"))
    alone = read("a.eml", data, tmp_path)
    assert alone.text.endswith("Good.") and [p.where for p in alone.problems] == ["a text in it"]
    box = read("a.mbox", b"From a\n" + data, tmp_path)
    assert [p.where for p in box.problems] == ["message 1, a text in it"]


@pytest.mark.parametrize(("plain", "page", "told"), [
    ("\x01\x02\x03", "<p>In HTML.</p>", "In HTML."), ("In text.", "\x01\x02\x03", "In text.")])
def test_an_alternative_that_cannot_be_read_leaves_the_other(plain, page, told, tmp_path):
    data = multipart("alternative", ("Content-Type: text/plain", plain),
                     ("Content-Type: text/html", page))
    document = read("a.eml", data, tmp_path)
    assert document.text.endswith(told)
    assert [p.where for p in document.problems] == ["a text in it"] * (plain != told)


def test_alternatives_that_cannot_be_read_leave_the_other_texts(tmp_path):
    bad = ("Content-Type: text/html", "\x01\x02\x03")
    inner = multipart("alternative", bad).decode()
    data = multipart("mixed", ("Content-Type: message/rfc822", inner.replace("--b", "--c").replace(
        '"b"', '"c"')), ("Content-Type: text/plain", "Good."))
    document = read("a.eml", data, tmp_path)
    assert document.text.endswith("Good.")
    assert [p.where for p in document.problems] == ["a message in it"]
    with pytest.raises(DataError, match="binary"):
        read("a.eml", multipart("alternative", bad), tmp_path)


def test_xlsx_sheet_of_one_row_is_that_row(tmp_path):
    import openpyxl

    book = openpyxl.Workbook()
    for row in (("part", "torque"), ("M8", 25)):
        book.active.append(row)
    book.create_sheet("Notes")["B2"] = "Torques are in Nm."
    book.create_sheet("Empty")
    document = read("a.xlsx", hostile_parts.saved(book), tmp_path)
    assert parts(document) == ["part: M8\ntorque: 25", "Torques are in Nm."]
    assert [h.title for h in document.headings] == ["Sheet", "Notes"]


def test_xlsx_cells_that_are_merged_over_rows_stand_in_each(tmp_path):
    from openpyxl import Workbook

    book = Workbook()
    for row in (("Torques",), (), ("part", "class", "torque"), ("M8", 8.8, 25), (None, 10.9, 37),
                ("M10", 8.8, 49), (), ("M12", 8.8, 85)):
        book.active.append(row)
    for cells in ("A1:C2", "A4:A5", "A6:A7"):
        book.active.merge_cells(cells)
    assert parts(read("a.xlsx", hostile_parts.saved(book), tmp_path)) == [
        "Torques", "part: M8\nclass: 8.8\ntorque: 25", "part: M8\nclass: 10.9\ntorque: 37",
        "part: M10\nclass: 8.8\ntorque: 49", "part: M12\nclass: 8.8\ntorque: 85"]


def test_xlsx_formulas_that_were_never_computed_are_told(tmp_path):
    """As libraries write them: what a spreadsheet program would show is not in the file."""
    import openpyxl

    book = openpyxl.Workbook()
    for row in (("part", "sum"), ("M8", "=1+1"), ("M10", "=A1&A2")):
        book.active.append(row)
    data = hostile_parts.saved(book)
    document = read("a.xlsx", data, tmp_path)
    assert parts(document) == ["part: M8", "part: M10"]
    assert [(p.where, p.why[:10]) for p in document.problems] == [("sheet 'Sheet'", "2 formulas")]
    computed = hostile_parts.rezipped(data, xl__worksheets__sheet1_xml=lambda xml: (
        re.sub(rb"(<f>1\+1</f>)<v */?>(</v>)?", rb"\1<v>2</v>", xml).replace(
            b'<c r="B3">', b'<c r="B3" t="str">')))
    document = read("a.xlsx", computed, tmp_path)
    assert parts(document)[0] == "part: M8\nsum: 2" and not document.problems
