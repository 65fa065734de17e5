from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from word_embedder import WordEmbedder

from phi3kit.errors import SettingsError
from phi3kit.ingest.chunking import Chunker
from phi3kit.ingest.document import whole
from phi3kit.ingest.readers import read_document
from phi3kit.ingest.tables import Tables

EMBEDDER = WordEmbedder()
SECTION = "The K7 runs at 6 bar; its seal lasts 400 hours in salt water. " * 12
MANUAL = (f"# Manual\n\n## Pumps\n\n{SECTION}\n\n### Seals of the K7\n\n{SECTION}\n\n## Index\n\n"
          "short\n\n## Annex\n\nalso short\n")


def chunk(data, name="a.md", tokens=64, title="a"):
    document = read_document(Path(name), data.encode())
    chunker = Chunker(EMBEDDER.tokenizer, EMBEDDER.window, tokens)
    return document, chunker.chunk(document, title)


def count(text):
    return len(EMBEDDER.tokenizer.encode(text).ids)


def test_spans_are_exact_and_every_word_is_kept():
    document, chunks = chunk(MANUAL)
    assert all(document.text[c.start:c.end] == c.text for c in chunks)
    kept = " ".join(f"{c.heading} {c.text}" for c in chunks)
    assert set(document.text.replace("#", "").split()) <= set(kept.split())
    body = "".join(c.text for c in chunks)
    assert body.count("K7 runs") == document.text.count("K7 runs")


def test_chunks_are_measured_in_tokens_and_headings_fit_the_window():
    for tokens in (32, 100, 254):
        _, chunks = chunk(MANUAL, tokens=tokens)
        assert all(count(c.text) - 2 <= tokens for c in chunks)
        assert all(c.tokens == count(c.embedded) <= EMBEDDER.window for c in chunks)


def test_a_chunk_that_fills_the_window_leaves_its_headings_no_room():
    _, chunks = chunk(f"# A long heading of some words\n\n{'word ' * 600}", tokens=254)
    assert max(count(c.text) for c in chunks) == EMBEDDER.window
    assert all(c.tokens <= EMBEDDER.window and c.embedded.endswith(c.text) for c in chunks)
    assert all(c.heading for c in chunks)


def test_a_heading_longer_than_the_window_is_left_out_of_what_is_embedded():
    _, chunks = chunk(f"# {'very ' * 300}long\n\n## Inner\n\n{SECTION}", tokens=64)
    assert all(c.tokens <= EMBEDDER.window for c in chunks)
    inner = [c for c in chunks if c.heading.endswith("Inner")]
    assert inner and all(c.embedded.startswith("Inner\n") for c in inner)


def test_the_heading_is_what_all_of_the_chunk_stands_under():
    _, chunks = chunk(MANUAL, tokens=64)
    by_start = [(c.heading, c.text[:12]) for c in chunks]
    assert ("Manual > Pumps", "The K7 runs ") in by_start
    assert ("Manual > Pumps > Seals of the K7", "The K7 runs ") in by_start
    last = chunks[-1]
    assert "short" in last.text and "also short" in last.text and last.heading == "Manual"
    assert last.embedded == f"Manual\n{last.text}"


def test_headings_alone_are_no_chunk():
    _, chunks = chunk(MANUAL, tokens=64)
    assert not [c for c in chunks if c.text.strip().startswith("#") and "\n" not in c.text]
    _, only = chunk("# Title alone")
    assert [c.text for c in only] == ["# Title alone"]
    _, empty_section = chunk(f"# A\n\n{SECTION}\n\n## Nothing here\n\n# B\n\n{SECTION}")
    assert any("Nothing here" in c.text for c in empty_section)


def test_a_heading_that_is_a_picture_is_a_chunk_and_named_by_its_words():
    for text in ("# ![](logo.png)", "# ![](a.png)\n\n## ![](b.png)\n"):
        _, chunks = chunk(text)
        assert [c.text for c in chunks] == [text.strip()]
    _, chunks = chunk(f"# ![The K7](k7.png)\n\n{SECTION}\n\n## ![Logo](l.png) Seals\n\n{SECTION}")
    assert {c.heading for c in chunks} == {"The K7", "The K7 > Seals"}


def test_rows_are_chunks_and_know_their_table():
    _, chunks = chunk("part,torque\nM8,25 Nm\nM10,49 Nm\n", "bolt_torques.csv", 200, "bolt torques")
    assert [c.text for c in chunks] == ["part: M8\ntorque: 25 Nm", "part: M10\ntorque: 49 Nm"]
    assert chunks[0].embedded == "bolt torques\npart: M8\ntorque: 25 Nm" and not chunks[0].heading


def rows(first, last):
    return "\n".join(f"| K{n} | {n * 7} bar | {n * 100} hours |" for n in range(first, last))


TABLE = "| Pump | Pressure | Seal |\n| --- | :-: | --- |\n"
HTML = ("<h1>Pumps</h1><table><tr><th>Pump</th><th>Pressure</th><th>Seal</th></tr>"
        + "".join(f"<tr><td>K{n}</td><td>{n * 7} bar</td><td>{n * 100} hours</td></tr>"
                  for n in range(1, 40)) + "</table><p>After the table.</p>")


@pytest.mark.parametrize(("data", "name"), [
    (f"# Pumps\n\n{TABLE}{rows(1, 40)}\n\nAfter the table.\n", "a.md"), (HTML, "a.html")])
def test_rows_below_the_first_know_their_columns(data, name):
    document, chunks = chunk(data, name, 64)
    inside = [c for c in chunks if "K" in c.text and "Pressure" not in c.text]
    assert len(inside) > 5 and all(document.text[c.start:c.end] == c.text for c in chunks)
    assert {c.heading for c in inside} == {"Pumps > Pump | Pressure | Seal"}
    assert all(c.embedded == f"{c.heading}\n{c.text}" for c in inside)
    first = next(c for c in chunks if "Pressure" in c.text)
    assert first.heading == "Pumps" and "K1" in first.text


def test_only_tables_have_columns():
    text = f"a | b\n\nrule\n---\n\n{TABLE}{rows(1, 3)}\nAfter | it\n\nNo | table\n"
    tables = Tables(text)
    assert tables.names_at(text.index("| K2")) == ("Pump | Pressure | Seal",)
    assert not any(tables.names_at(text.index(word)) for word in ("rule", "| Pump", "No |"))
    assert Tables(f"| {'x' * 300} |\n| --- |\n| y |\n").names_at(315) == ()


def test_columns_that_leave_no_room_for_the_text_are_not_embedded():
    _, chunks = chunk(f"{TABLE}{rows(1, 200)}", tokens=254)
    assert all(c.tokens <= EMBEDDER.window and c.embedded.endswith(c.text) for c in chunks)


def test_a_long_row_is_cut_inside_of_itself():
    document, chunks = chunk(f"a,b\nx,{SECTION}\ny,short\n", "a.csv", 32)
    assert len(chunks) > 3
    assert all(sum(p.start <= c.start and c.end <= p.end for p in document.parts) == 1
               for c in chunks)


def test_chunks_longer_than_the_window_are_refused():
    with pytest.raises(SettingsError, match=r"chunk_tokens.*300.*254.*Set it to 254"):
        chunk("x", tokens=300)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(alphabet=st.one_of(
    st.sampled_from("# \n\n-*`|>é漢🌊x"), st.characters(exclude_categories=("Cs", "Cc"))),
    max_size=600), st.sampled_from([32, 64]), st.booleans())
def test_any_text(text, tokens, markdown):
    from phi3kit.ingest.readers.markdown import find_headings

    document = whole(text, find_headings(text) if markdown else (), markdown=markdown)
    chunks = Chunker(EMBEDDER.tokenizer, EMBEDDER.window, tokens).chunk(document, "t")
    assert all(text[c.start:c.end] == c.text and c.tokens <= EMBEDDER.window for c in chunks)
    assert all(a.end <= b.start for a, b in itertools.pairwise(chunks))
    kept = " ".join(f"{c.heading} {c.text}" for c in chunks)
    assert all(character in kept for character in text if character.isalnum())


def test_a_folder_of_one_kind_makes_one_splitter():
    """Each holds a tokenizer of its own, which takes longer than to cut some files."""
    chunker = Chunker(EMBEDDER.tokenizer, EMBEDDER.window, 64)
    assert not {"_plain", "_markdown"} & vars(chunker).keys()
    for name, other in (("a.txt", "_markdown"), ("a.md", None)):
        assert chunker.chunk(read_document(Path(name), b"The K7 runs at 6 bar."), "a")
        assert other not in vars(chunker)


def test_a_long_line_that_is_almost_a_rule_is_told_at_once():
    """In one pattern, with a dash anywhere, it takes the square of its length: hours."""
    text = f"| a | b |\n|{'-' * 1_000_000}x\n"
    started = time.process_time()
    assert Tables(text).names_at(len(text) - 1) == ()
    assert time.process_time() - started < 5
