from __future__ import annotations

import io
import json
import zipfile

import docx
import hostile_parts
import hostile_texts
import pytest
from docx.oxml.ns import nsmap, qn
from pypdf import PdfReader, PdfWriter
from reportlab.pdfgen import canvas

from phi3kit.errors import DataError
from phi3kit.ingest.readers import read_document
from phi3kit.ingest.readers.markdown import find_headings


def read(name, data, tmp_path):
    return read_document(tmp_path / name, data.encode() if isinstance(data, str) else data)


def parts(document):
    return [document.text[p.start:p.end] for p in document.parts]


def make_pdf(*pages):
    out = io.BytesIO()
    page = canvas.Canvas(out)
    for text in pages:
        for number, line in enumerate(text.splitlines()):
            page.drawString(72, 720 - 14 * number, line)
        page.showPage()
    page.save()
    return out.getvalue()


def make_docx():
    document = docx.Document()
    document.add_heading("Winches", 1)
    document.add_paragraph("A winch pulls.")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(table._cells, ("Model", "Pull", "W-9", "14 | 15 kN"), strict=True):
        cell.text = text
    document.add_heading("Care", 2)
    document.add_paragraph("Grease it.", style="List Bullet")
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def test_text_with_every_line_end(tmp_path):
    assert read("a.txt", b"one\r\ntwo\rthree\n", tmp_path).text == "one\ntwo\nthree\n"


@pytest.mark.parametrize("encoding", [
    "utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252"])
def test_encodings(encoding, tmp_path):
    text = ("Die Schleuse öffnet um sieben Uhr früh. Für das Tor gilt: prüfen, fetten, schließen. "
            "Der Wärter trägt die Zeiten täglich in das große Buch ein.\n") * 3
    assert read("a.txt", text.encode(encoding), tmp_path).text == text


def test_utf16_without_a_mark(tmp_path):
    text = "The north gate is checked every seven days by the lock keeper.\n" * 3
    assert read("a.txt", text.encode("utf-16-le"), tmp_path).text == text


def test_markdown_headings_know_code_setext_and_front_matter():
    text = ("---\ntitle: x\n---\n# One `a`\n\n```\n# no heading\n```\n\nTwo\n---\n\n"
            "- # in a list\n\n### *Three* ###\n")
    found = find_headings(text)
    assert [(h.level, h.title) for h in found] == [(1, "One a"), (2, "Two"), (3, "Three")]
    assert [text[h.start:h.end] for h in found] == ["# One `a`", "Two\n---", "### *Three* ###"]


@pytest.mark.parametrize(("front", "titles"), [
    ('title: "Pumps: a guide"', [(0, "Pumps: a guide"), (1, "Seals")]),
    ("subtitle: x\ntitle: It's fine", [(0, "It's fine"), (1, "Seals")]),
    ("title: Seals", [(1, "Seals")]), ("title: >\n  folded", [(1, "Seals")]),
])
def test_markdown_title_in_front_matter(front, titles, tmp_path):
    document = read("a.md", f"---\n{front}\n---\n\n# Seals\n\ntitle: none\n", tmp_path)
    assert [(h.level, h.title) for h in document.headings] == titles


def test_html_keeps_content_and_drops_menus(tmp_path):
    page = ("<html><head><title>Manual</title><script>var x = 'evil';</script></head><body>"
            "<nav><a href='/'>Home page</a></nav><h1>Valves</h1><p>The valve V3 opens at "
            "<b>6.2 bar</b>.</p><h2>Parts</h2><table><tr><th>Part</th><th>No.</th></tr>"
            "<tr><td>Spring</td><td>S-77</td></tr></table><div>Loose words &amp; end</div>"
            "</body></html>")
    document = read("a.html", page, tmp_path)
    for expected in ("6.2 bar", "Spring", "S-77", "Loose words & end"):
        assert expected in document.text
    assert "evil" not in document.text and "Home page" not in document.text
    assert [(h.level, h.title) for h in document.headings] == [
        (0, "Manual"), (1, "Valves"), (2, "Parts")]


@pytest.mark.parametrize("body", [
    "<p>Short.</p>", "<div>One<br>two</div>", "<ul><li>alpha</li><li>beta</li></ul>",
    "<table><tr><td>torque</td><td>14 Nm</td></tr></table>", "just words",
    "<dl><dt>K7</dt><dd>a pump</dd></dl>", "<span>inline <b>only</b></span>",
    "<article><header><h1>T</h1></header><p>p</p><footer>signed Mira</footer></article>",
])
def test_short_html_loses_no_word(body, tmp_path):
    from lxml import html

    words = " ".join(html.document_fromstring(body).itertext()).split()
    found = read("a.html", f"<html><body>{body}</body></html>", tmp_path).text
    assert all(word.strip(".") in found for word in words)


def test_html_in_its_declared_encoding(tmp_path):
    page = "<html><head><meta charset='cp1250'></head><body><p>Žlutý kůň</p></body></html>"
    assert "Žlutý kůň" in read("a.htm", page.encode("cp1250"), tmp_path).text


def test_pdf_pages(tmp_path):
    document = read("a.pdf", make_pdf("Page one says 11.", "", "Page three says 33."), tmp_path)
    assert [(p.page, document.text[p.start:p.end].strip()) for p in document.parts] == [
        (1, "Page one says 11."), (3, "Page three says 33.")]
    assert not document.problems  # an empty page is no scan


def test_a_broken_page_of_a_pdf_is_told_and_the_others_are_read(tmp_path):
    shown = (b"/Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Resources "
             b"<</Font <</A <</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>>>>>")
    said = hostile_parts.stream(b"BT /A 9 Tf 9 9 Td (It holds.) Tj ET", b"")
    broken = hostile_parts.stream(b"\xff\xff\xff", b"/Filter /LZWDecode")
    data = hostile_parts.raw_pdf([
        b"<</Type /Catalog /Pages 2 0 R>>", b"<</Type /Pages /Kids [3 0 R 4 0 R] /Count 2>>",
        b"<<%s /Contents 6 0 R>>" % shown, b"<<%s /Contents 5 0 R>>" % shown, said, broken])
    document = read("a.pdf", data, tmp_path)
    assert [(p.page, document.text[p.start:p.end]) for p in document.parts] == [(2, "It holds.")]
    (problem,) = document.problems
    assert problem.where == "p. 1" and problem.why.startswith("the page cannot be read (")
    with pytest.raises(DataError, match="damaged PDF"):
        read("a.pdf", data.replace(b"[3 0 R 4 0 R] /Count 2", b"[3 0 R] /Count 1 "), tmp_path)


def test_pdf_words_that_a_line_cuts_are_whole_again(tmp_path):
    page = ("The mainte-\nnance of state-of-the-\nart pumps, pre-\nand post-war, by a well-known\n"
            "and a well-\nknown yard; the K-\nring, an X-\nray and Smith-\nJones stay.")
    assert read("a.pdf", make_pdf(page), tmp_path).text == (
        "The maintenance of state-of-the-art pumps, pre-\nand post-war, by a well-known\n"
        "and a well-known yard; the K-\nring, an X-\nray and Smith-\nJones stay.\n")


def test_encrypted_pdf(tmp_path):
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(make_pdf("secret"))))
    writer.encrypt("password", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    with pytest.raises(DataError, match="encrypted"):
        read("a.pdf", out.getvalue(), tmp_path)


@pytest.mark.parametrize(("name", "data", "why"), [
    ("a.txt", b"", "empty"), ("a.txt", b" \n\t", "empty"), ("a.md", b"--- ***", "no text"),
    ("a.txt", bytes(range(256)) * 20, "binary"), ("a.txt", b"\xff\xfeab\x00", "UTF-16"),
    ("a.pdf", make_pdf(""), "no text on its 1 pages"), ("a.pdf", b"hello", "no PDF"),
    ("a.pdf", make_pdf("x")[:300], "damaged PDF"), ("a.txt", make_pdf("x"), "a PDF"),
    ("a.docx", b"hello", "no DOCX"), ("a.docx", b"PK\x03\x04zip it is not", "damaged"),
    ("a.csv", b"a,b\n", "no rows"), ("a.json", b"{", "line 1: not JSON"),
    ("a.json", b'{"a\n', r"line 1: not JSON \(Invalid control character\)"),
    ("a.json", b"[" * 100_000, "JSON that cannot be read"), ("a.jsonl", b"{\n[", "line 1"),
    ("a.json", b"[]", "no text"), ("a.html", b"<html></html>", "no text"),
    ("a.csv", b'a,b\n"' + b"x" * 1_100_000, "line"),
])
def test_what_cannot_be_read_says_why(name, data, why, tmp_path):
    with pytest.raises(DataError, match=why):
        read(name, data, tmp_path)


def test_docx_in_document_order(tmp_path):
    document = read("a.docx", make_docx(), tmp_path)
    assert document.text == (
        "# Winches\n\nA winch pulls.\n\n| Model | Pull |\n| --- | --- |\n"
        "| W-9 | 14 \\| 15 kN |\n\n## Care\n\n- Grease it.")
    assert [document.text[h.start:h.end] for h in document.headings] == ["# Winches", "## Care"]


def test_docx_merged_cells_count_once(tmp_path):
    document = docx.Document()
    table = document.add_table(rows=1, cols=2)
    table.cell(0, 0).merge(table.cell(0, 1)).text = "wide"
    assert table._tbl.find(f".//{qn('w:gridSpan')}") is not None
    out = io.BytesIO()
    document.save(out)
    assert read("a.docx", out.getvalue(), tmp_path).text.count("wide") == 1


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_rows(delimiter, tmp_path):
    rows = [("part", "torque", ""), ("M8", "25 Nm", "dry"), ("", "", ""), ("M10", '"4""9"', "")]
    data = "\n".join(delimiter.join(row) for row in rows)
    assert parts(read("a.csv", data, tmp_path)) == [
        "part: M8\ntorque: 25 Nm\ncolumn 3: dry", 'part: M10\ntorque: 4"9']


def test_csv_quotes_doubled_far_below(tmp_path):
    data = "size, note\n" + "M8, plain\n" * 2000 + 'M10, "a 4"" thread, fine"\n'
    assert parts(read("a.csv", data, tmp_path))[-1] == 'size: M10\nnote: a 4" thread, fine'


def test_csv_of_one_column(tmp_path):
    assert parts(read("a.csv", "note\nfirst\nsecond\n", tmp_path)) == [
        "note: first", "note: second"]


def test_csv_with_a_quoted_line_end(tmp_path):
    assert parts(read("a.csv", 'name,note\nK7,"two\nlines"\n', tmp_path)) == [
        "name: K7\nnote: two\nlines"]


@pytest.mark.parametrize(("rows", "kept", "lines"), [
    ('1,"open\n2,two\n3,three', ["2 two", "3 three"], ["line 2"]),
    ('1,one\n2,"open\n3,"open\n4,four\n', ["1 one", "4 four"], ["line 3", "line 4"]),
    ('1,"two\nlines"\n2,"open\n3,"three"\n', ["1 two\nlines", "3 three"], ["line 4"]),
])
def test_a_quote_that_does_not_close_costs_one_row(rows, kept, lines, tmp_path):
    document = read("a.csv", f"id,note\n{rows}", tmp_path)
    assert parts(document) == ["id: {}\nnote: {}".format(*row.split(" ", 1)) for row in kept]
    assert [problem.where for problem in document.problems] == lines
    assert "a quote opens here and does not close" in document.problems[0].why


def test_json_records(tmp_path):
    records = [{"id": 7, "a": {"b": [1, True, "x"]}, "none": None}, {"l": [{"k": "v"}, 2]}, "s"]
    expected = ["id: 7\na.b: 1, true, x", "l.1.k: v\nl.2: 2", "s"]
    assert parts(read("a.json", json.dumps(records), tmp_path)) == expected
    lines = "\n".join(json.dumps(record) for record in records)
    assert parts(read("a.jsonl", lines, tmp_path)) == expected


def test_a_list_in_an_object_is_a_passage_per_element(tmp_path):
    envelope = {"yard": "North", "result": {"count": 2, "items": [
        {"part": "K7", "seal": {"hours": 400}}, {"part": "C2", "tags": ["a", "b"]}]}}
    document = read("a.json", json.dumps(envelope), tmp_path)
    assert parts(document) == ["yard: North\nresult.count: 2", "part: K7\nseal.hours: 400",
                               "part: C2\ntags: a, b"]
    assert [(h.start, h.title) for h in document.headings] == [
        (document.parts[1].start, "yard: North, result.count: 2 > result.items")]
    alone = read("a.json", json.dumps({"items": [{"a": 1}], "note": "x" * 300}), tmp_path)
    assert [h.title for h in alone.headings] == ["items"] and parts(alone)[1] == "a: 1"


def test_an_object_with_several_lists_or_none_is_one_passage(tmp_path):
    for value in ({"a": [{"b": 1}], "c": [{"d": 2}]}, {"a": [1, 2], "c": {"d": 2}}):
        document = read("a.json", json.dumps(value), tmp_path)
        assert len(document.parts) == 1 and not document.headings


def test_a_bad_json_line_does_not_stop_the_others(tmp_path):
    document = read("a.jsonl", '{"a": 1}\n{oops\n\n{"a": 3}\n', tmp_path)
    assert parts(document) == ["a: 1", "a: 3"]
    assert [problem.where for problem in document.problems] == ["line 2"]


def test_what_no_store_can_hold_is_replaced(tmp_path):
    assert read("a.json", '["a\\u0000b\\ud800c"]', tmp_path).text == "a\ufffdb\ufffdc"


@pytest.mark.parametrize("encoding", sorted(hostile_texts.ENCODINGS))
def test_encodings_without_and_with_an_odd_byte(encoding, tmp_path):
    line = hostile_texts.ENCODINGS[encoding]
    assert read("a.txt", (line * 6).encode(encoding), tmp_path).text == line * 6
    lines = read("a.txt", hostile_texts.odd(line, encoding), tmp_path).text.split("\n")
    assert lines.count(line.strip()) >= 5


def test_an_odd_byte_far_below_costs_one_character(tmp_path):
    data = (hostile_texts.RUSSIAN * 9000).encode()
    assert read("a.txt", data + b"\xff" + data, tmp_path).text == (
        hostile_texts.RUSSIAN * 9000 + "\ufffd" + hostile_texts.RUSSIAN * 9000)


def test_no_entity_brings_a_file_in(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("the secret words")
    peek = f"<!DOCTYPE x [<!ENTITY i SYSTEM '{secret.as_uri()}'>]>"
    page = f"{peek}<html><body><p>The tide turns &i;.</p></body></html>"
    for name, data in (("a.html", page), ("a.epub", hostile_parts.epub({"a.xhtml": page})),
                       ("b.epub", hostile_parts.epub(opf_head=peek))):
        document = read(name, data, tmp_path)
        assert "secret" not in document.text + repr(document.headings)


def test_long_parts_are_cut_between_paragraphs(tmp_path):
    document = read("a.txt", ("word " * 200 + "\n\n") * 400, tmp_path)
    texts = parts(document)
    assert "".join(texts) == document.text and len(texts) > 5
    assert all(len(text) <= 65_536 and text.endswith("\n\n") for text in texts)
    assert max(map(len, parts(read("b.txt", "a" * 200_000, tmp_path)))) == 65_536


def test_many_problems_are_told_in_few_lines(tmp_path):
    problems = read("a.jsonl", '{"a": 1}\n' + "{oops\n" * 500, tmp_path).problems
    assert len(problems) == 21 and problems[-1].why == "480 more places that cannot be read"


def test_docx_loses_nothing_that_is_wrapped(tmp_path):
    """Insertions that are tracked, content controls, text boxes; not what was taken away."""
    run = "<w:r><w:t>{}</w:t></w:r>"
    box = "<w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p></w:txbxContent>"
    paragraph = (
        f"<w:p>{run.format('plain ')}<w:ins w:id='1' w:author='a'>{run.format('added ')}</w:ins>"
        "<w:del w:id='2' w:author='a'><w:r><w:delText>deleted</w:delText></w:r></w:del>"
        f"<w:moveFrom w:id='3' w:author='a'>{run.format('moved away')}</w:moveFrom>"
        f"<w:sdt><w:sdtContent><w:smartTag>{run.format('chosen')}</w:smartTag></w:sdtContent></w:sdt>"
        f"<w:r><mc:AlternateContent><mc:Choice Requires='wps'>{box}</mc:Choice><mc:Fallback>{box}"
        "</mc:Fallback></mc:AlternateContent></w:r></w:p>")
    hint = f"<w:sdt><w:sdtPr><w:showingPlcHdr/></w:sdtPr><w:sdtContent><w:p>{run.format('Click')}" \
           "</w:p></w:sdtContent></w:sdt>"
    contents = ("<w:sdt><w:sdtPr><w:docPartObj><w:docPartGallery w:val='Table of Contents'/>"
                f"</w:docPartObj></w:sdtPr><w:sdtContent><w:p>{run.format('Care 3')}</w:p>"
                "</w:sdtContent></w:sdt>")
    block = f"<w:sdt><w:sdtContent><w:p>{run.format('a block')}</w:p></w:sdtContent></w:sdt>"
    table = f"<w:tbl><w:tr><w:tc>{block}</w:tc></w:tr></w:tbl>"
    data = hostile_parts.rezipped(hostile_parts.docx("x"), word__document_xml=(
        f"<w:document xmlns:w='{nsmap['w']}' xmlns:mc='http://schemas.openxmlformats.org/"
        f"markup-compatibility/2006'><w:body>{contents}{paragraph}{hint}{block}{table}</w:body>"
        "</w:document>"))
    assert read("a.docx", data, tmp_path).text == (
        "plain added chosen\n\nboxed\n\na block\n\n| a block |\n| --- |")


_PARAGRAPH = "<w:p><w:r><w:t>{}</w:t>{}</w:r></w:p>"


def docx_with_note(body, note):
    """A Word document of that body; a reference to footnote 2 is one to `note`."""
    names = (f"xmlns:w='{nsmap['w']}' "
             "xmlns:mc='http://schemas.openxmlformats.org/markup-compatibility/2006'")
    relation = ("<Relationship Id='rId99' Target='footnotes.xml' Type='http://schemas.openxmlformats"
                ".org/officeDocument/2006/relationships/footnotes'/></Relationships>")
    kind = ("<Override PartName='/word/footnotes.xml' ContentType='application/vnd.openxmlformats-"
            "officedocument.wordprocessingml.footnotes+xml'/></Types>")
    data = hostile_parts.rezipped(
        hostile_parts.docx("x"), _Content_Types__xml=lambda xml: xml.replace(
            b"</Types>", kind.encode()),
        word___rels__document_xml_rels=lambda xml: xml.replace(
            b"</Relationships>", relation.encode()),
        word__document_xml=f"<w:document {names}><w:body>{body}</w:body></w:document>")
    out = io.BytesIO(data)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("word/footnotes.xml", f"<w:footnotes {names}><w:footnote w:id='2'>"
                         + _PARAGRAPH.format(note, "") + "</w:footnote></w:footnotes>")
    return out.getvalue()


_REFERENCE = "<w:footnoteReference w:id='2'/>"


def test_docx_notes_stand_below_what_refers_to_them(tmp_path):
    data = docx_with_note(_PARAGRAPH.format("It holds.", _REFERENCE)
                          + _PARAGRAPH.format("Next.", ""), "Below 40 bar.")
    assert read("a.docx", data, tmp_path).text == "It holds.\n\nBelow 40 bar.\n\nNext."


def test_docx_boxes_and_notes_of_a_table_stand_below_it(tmp_path):
    box = f"<w:txbxContent>{_PARAGRAPH.format('boxed', _REFERENCE)}</w:txbxContent>"
    twice = (f"<mc:AlternateContent><mc:Choice Requires='wps'>{box}</mc:Choice>"
             f"<mc:Fallback>{box}</mc:Fallback></mc:AlternateContent>")
    data = docx_with_note(f"<w:tbl><w:tr><w:tc>{_PARAGRAPH.format('Load', twice)}</w:tc></w:tr>"
                          f"</w:tbl>{_PARAGRAPH.format('Next.', '')}", "Below 40 bar.")
    assert read("a.docx", data, tmp_path).text == (
        "| Load |\n| --- |\n\nboxed\n\nBelow 40 bar.\n\nNext.")


def test_docx_margins_are_told_once_under_no_heading(tmp_path):
    """Without what counts pages, in either way that Word writes it."""
    document = docx.Document()
    document.add_heading("Winches", 0)
    document.add_paragraph("A winch pulls.")
    document.add_section()
    for at, section in enumerate(document.sections):
        section.header.is_linked_to_previous = section.footer.is_linked_to_previous = False
        section.header.paragraphs[0].text = "Manual W-9\tRevision C"
        section.footer.paragraphs[0].add_run(f"Confidential {at}\tPage ")
        for kind, text in (("begin", None), (None, " PAGE "), ("separate", None), (None, "3"),
                           ("end", None)):
            run = section.footer.paragraphs[0].add_run()
            if kind:
                run._r.append(docx.oxml.OxmlElement("w:fldChar"))
                run._r[0].set(qn("w:fldCharType"), kind)
            else:
                run._r.append(docx.oxml.OxmlElement("w:t" if text == "3" else "w:instrText"))
                run._r[0].text = text
    for text in ("PAGE", "TITLE"):
        field = docx.oxml.OxmlElement("w:fldSimple")
        field.set(qn("w:instr"), text)
        field.append(docx.oxml.OxmlElement("w:r"))
        field[0].append(docx.oxml.OxmlElement("w:t"))
        field[0][0].text = "Nine" if text == "TITLE" else "9"
        document.sections[0].header.add_paragraph()._p.append(field)
    out = io.BytesIO()
    document.save(out)
    found = read("a.docx", out.getvalue(), tmp_path)
    assert parts(found) == ["# Winches\n\nA winch pulls.",
                            "Manual W-9 Revision C\nNine\nConfidential 0\nConfidential 1"]
    assert [(h.start, h.level, h.title) for h in found.headings] == [
        (0, 0, "Winches"), (found.parts[1].start, 1, "")]


@pytest.mark.parametrize(("body", "text"), [
    ("<h1>Pump<br>house</h1><table><tr><th>Part<br>No.</th></tr><tr><td><p>K7</p><p>left</p></td>"
     "</tr></table>", "# Pump house\n\n| Part No. |\n| --- |\n| K7 left |"),
    ("<table><tr><td><h2>Invoice</h2><table><tr><th>Item</th></tr><tr><td>Bolt</td></tr></table>"
     "</td></tr></table>", "## Invoice\n\n| Item |\n| --- |\n| Bolt |"),
    ("<p>The un<b>believ</b>able H<sub>2</sub>O</p>", "The unbelievable H2O"),
    ("<h1>A</h1><div>so:</div><pre>if x:\n    go()</pre><div>end</div>",
     "# A\n\nso:\n\n```\nif x:\n    go()\n```\n\nend"),
    ("<h1>A</h1><pre>if x:<br>    go()<br/><b>end</b></pre>",
     "# A\n\n```\nif x:\n    go()\nend\n```"),
])
def test_html_neither_joins_nor_cuts_words_nor_says_them_twice(body, text, tmp_path):
    assert read("a.html", f"<html><body>{body}</body></html>", tmp_path).text == text


def test_pdf_ligatures_are_letters(tmp_path):
    font = (b"<</Type /Font /Subtype /Type1 /BaseFont /CMR10 /Encoding "
            b"<</Type /Encoding /Differences [11 /ff /fi /fl /ffi]>>>>")
    data = hostile_parts.page_pdf(
        hostile_parts.stream(b"BT /B 9 Tf 9 9 Td (the \x0cle, o\x0ece) Tj ET", b""), font)
    data = data.replace(b"<</Font <</A ", b"<</Font <</B 5 0 R /A ")
    assert read("a.pdf", data, tmp_path).text == "the file, office"


def test_csv_whose_delimiter_is_said_or_plain(tmp_path):
    """A line for Excel is no row; a comma in every row is no delimiter where there are tabs."""
    said = read("a.csv", 'sep=;\nname;note\nK7;"open\nC2;two\n', tmp_path)
    assert parts(said) == ["name: C2\nnote: two"]
    assert [problem.where for problem in said.problems] == ["line 3"]
    assert parts(read("a.tsv", "name\tplace, land\nA\tBonn, DE\nB\tParis, FR\n", tmp_path)) == [
        "name: A\nplace, land: Bonn, DE", "name: B\nplace, land: Paris, FR"]


def test_headings_of_two_lines_and_a_rule_at_the_start():
    found = find_headings("---\n\n# First\n\n---\n\nTwo\nlines\n===\n")
    assert [h.title for h in found] == ["First", "Two lines"]
