"""Filters: how they read, what they let through, and every mode against brute force."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path

import pytest

from phi3kit import settings
from phi3kit.errors import SettingsError, StoreError
from phi3kit.ingest.rows import Place
from phi3kit.rag.filters import read_filters
from phi3kit.rag.retrieve import open_retriever

WORDS = ("valve", "winch", "gate", "crane", "pump", "ferry", "seal", "grease", "torque", "lamp")


def place(source: str = "docs/handbook/seals.md", *, page: int | None = None,
          heading: str = "") -> Place:
    return Place(source, 0, 9, page, heading, "sha", 1, 0)


@pytest.mark.parametrize(("text", "passes"), [
    ("source=docs/handbook/seals.md", True), ("source=seals.md", True),
    ("source=handbook/*.md", True), ("source=handbook", True), ("source=docs/", True),
    ("source=./docs/**", True), ("source=*", True), ("source=docs/*.md", False),
    ("source=book/seals.md", False), ("source=hand*/s*", True), ("source=Seals.md", False),
    ("source=docs\\handbook\\seals.md", True),
    ("source=.", True),
    ("type=md", True), ("type=.MD", True), ("type=d", False), ("type=pdf", False),
    ("heading=pumps", True), ("heading=PUMPS > se", True), ("heading=gates", False),
    ("page=3", True), ("page=1-3", True), ("page=3-3", True), ("page=4-9", False),
    ("page=1–4", True), ("page = 3", True),
])
def test_one_filter(text: str, passes: bool):
    at = place(page=3, heading="Pumps > Seals")
    assert read_filters([text]).match(at) is passes


def test_a_name_with_brackets_is_found_as_it_is_written():
    draft = place("docs/report[1].pdf")
    for text in ("source=report[1].pdf", "source=docs/report[1].pdf", "source=report*"):
        assert read_filters([text]).match(draft)
    assert not read_filters(["source=report[1].pdf"]).match(place("docs/old_report[1].pdf"))


def test_names_are_the_same_however_their_letters_are_composed():
    at = place("docs/u\u0308ber/na\u0308me.md", heading="Tu\u0308ren")
    for text in ("source=n\u00e4me.md", "source=\u00fcber/*", "source=na\u0308me.md",
                 "heading=T\u00dcR"):
        assert read_filters([text]).match(at)


def test_one_of_a_key_and_all_keys_have_to_hold():
    both = read_filters(["source=a.md", "source=b.md", "page=2"])
    assert both.match(place("b.md", page=2)) and both.match(place("a.md", page=2))
    assert not both.match(place("b.md", page=1)) and not both.match(place("c.md", page=2))
    assert not read_filters(["page=2"]).match(place("a.md"))


@pytest.mark.parametrize("text", [
    "handbook", "author=me", "source=", "page=three", "page=3-", "page=0", "page=5-3", "=x"])
def test_what_is_no_filter_is_named_with_the_way_out(text: str):
    with pytest.raises(SettingsError, match=re.escape(f"--filter {text}: ")) as error:
        read_filters([text])
    assert "page=3-8" in str(error.value)


def write_documents(folder: Path) -> dict[str, list[str]]:
    """Sixty short documents of random words, some of them twice; source to headings."""
    rng = random.Random(0)
    for at in range(60):
        kind = "md" if at % 3 else "txt"
        part = folder / ("north" if at % 2 else "south")
        part.mkdir(parents=True, exist_ok=True)
        heading = f"# Chapter {WORDS[at % 10]}\n\n" if kind == "md" else ""
        # Lengths differ, so that no two share a BM25 score, whose order would be open.
        text = " ".join(rng.choices(WORDS, k=10 + at)) + f" number {at}"
        (part / f"d{at}.{kind}").write_text(f"{heading}The {text}.\n", encoding="utf-8")
    twice = "# Chapter twice\n\nThe valve of the ferry stands in two files.\n"
    (folder / "north/twice.md").write_text(twice, encoding="utf-8")
    (folder / "south/twice.md").write_text(twice, encoding="utf-8")


@pytest.mark.model
def test_every_mode_gives_what_brute_force_gives(project: Path, run_cli):
    from phi3kit.ingest.reconcile import ingest

    write_documents(project / "docs")
    ingest(settings.load({"ingest.corpus": ("docs",)}).values)
    questions = [f"Where is the {a} of the {b}?" for a, b in itertools.combinations(WORDS[:5], 2)]
    least = {}
    for mode, given in itertools.product(
            ("dense", "lexical", "hybrid"),
            (("source=north",), ("type=txt", "source=south"), ("heading=chapter g",),
             ("source=d*7.*", "source=d*8.*"))):
        every = open_retriever(settings.load({"ask.retrieval": mode}).values)
        some = open_retriever(settings.load({"ask.retrieval": mode, "ask.filters": given}).values)
        assert some.fingerprint != every.fingerprint
        passes = read_filters(given).match
        for question, found in zip(questions, some.rank(questions, 5, -1.0), strict=True):
            assert found and all(passes(place(p.source, page=p.page, heading=p.heading))
                                 for p in found)
            least[mode, given] = min(len(found), least.get((mode, given), 99))
            if mode != "hybrid":  # a ranking that does not depend on what else is there
                expected = [p.id for p in every.rank([question], 62, -1.0)[0]
                            if any(passes(place(source, heading=p.heading))
                                   for source in p.sources)][:5]
                assert [p.id for p in found] == expected
    assert min(least.values()) == 5, "less was found than passes"
    assert len({tuple(p.id for p in every.rank(["valve"], 5, -1.0)[0]) for every in (
        open_retriever(settings.load({"ask.filters": given}).values)
        for given in ((), ("source=north",), ("source=south",)))}) == 3


@pytest.mark.model
def test_a_passage_is_told_at_the_place_that_passes(project: Path, run_cli):
    write_documents(project / "docs")
    assert run_cli("ingest", "docs", cwd=project).returncode == 0
    question = "the valve of the ferry in two files"
    for part in ("north", "south"):
        shown = run_cli("search", question, "--filter", f"source={part}", "--passages", "1",
                        "--json", cwd=project)
        assert [p["source"] for p in json.loads(shown.stdout)] == [f"docs/{part}/twice.md"]
    wrong = run_cli("search", question, "--filter", "sorce=a", cwd=project)
    assert wrong.returncode == 2 and "--filter sorce=a" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    with pytest.raises(StoreError, match="--filter page=3: no passage"):
        open_retriever(settings.load({"ask.filters": ("page=3",)}).values)
    dry = run_cli("ask", "?", "--filter", "type=md", "--filter", "source=a", "--dry-run",
                  cwd=project)
    assert '["type=md", "source=a"]  (flag)' in dry.stdout
