"""The reports of a comparison: complete, self-contained, and deaf to what documents say."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from phi3kit.records import Comparison
from phi3kit.report.comparison_text import findings, number, p_value
from phi3kit.report.html import render_comparison, write_reports
from phi3kit.report.markdown import comparison_markdown
from phi3kit.report.terminal_comparison import print_comparison
from phi3kit.wording import in_seconds, listed

HOSTILE = ("<script>steal()</script><img src=x onerror=steal()>\"'><svg onload=steal()>"
           "</title></style></details><a href=javascript:steal()>$x^2$ {{ 7*7 }} \x1b[31m &lt;b&gt;"
           "<iframe src=//evil.example></iframe><!-- --><base href=//evil.example>")


class Page(HTMLParser):
    """Every element with its attributes, the text, and whether all that opened was closed."""

    VOID = frozenset({"meta", "img", "br", "hr", "input", "link", "base"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_says_the_verdict_first_and_holds_every_answer(comparison: Comparison) -> None:
    page = Page(render_comparison(comparison))
    assert not page.open
    text = " ".join(page.text.split())
    assert text.index(comparison.verdict.sentence) < text.index("How sure is that?")
    assert "The advice was both (72% sure): confirmed, for it wins." in text
    for row in comparison.rows:
        assert row.question in text
    for arm in comparison.arms:
        assert number(arm.metrics["score"].low) in text
    assert "3f" * 32 in text


def test_the_page_needs_nothing_from_outside(comparison: Comparison) -> None:
    raw = render_comparison(comparison)
    page = Page(raw)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"link", "img", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "action"):
            target = attributes.get(name) or "#"
            assert target.startswith("#"), f"<{tag} {name}={target}>"
        assert not [name for name in attributes if name.startswith("on")]
    policy = next(a["content"] for t, a in page.elements
                  if t == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and "default-src 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    for name in ("script", "style"):
        texts = re.findall(rf"<{name}>(.*?)</{name}>", raw, re.DOTALL)
        assert len(texts) == 1 and sum(tag == name for tag, _ in page.elements) == 1
        digest = base64.b64encode(hashlib.sha256(texts[0].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert not [a for _, a in page.elements if "style" in a]
    assert "@import" not in raw and "url(//" not in raw and "url(http" not in raw


def test_ids_are_unique_and_what_is_named_exists(comparison: Comparison) -> None:
    elements = Page(render_comparison(comparison)).elements
    ids = [a["id"] for _, a in elements if a.get("id")]
    assert len(ids) == len(set(ids))
    for _, attributes in elements:
        for name in ("aria-labelledby", "href", "xlink:href"):
            for target in (attributes.get(name) or "").replace("#", "").split():
                assert target in ids


def test_plots_and_tables_speak_to_screen_readers(comparison: Comparison) -> None:
    raw = render_comparison(comparison)
    elements = Page(raw).elements
    plots = [a for tag, a in elements if tag == "svg" and a.get("role") == "img"]
    assert len(plots) == 3
    assert raw.count("<title id=") == raw.count("<desc id=") == 3
    tables = sum(tag == "table" for tag, _ in elements)
    assert tables == sum(tag == "caption" for tag, _ in elements) > 3
    assert "both 0.8" in re.findall(r"<desc[^>]*>([^<]*)", raw)[0]


def test_hostile_texts_stay_texts(make: Callable[..., Comparison], tmp_path) -> None:  # type: ignore[no-untyped-def]
    honest = Page(render_comparison(make(tmp_path, per_kind=6)))
    page = Page(render_comparison(make(tmp_path, per_kind=6, hostile=HOSTILE)))
    allowed = {(tag, name) for tag, attributes in honest.elements for name in attributes}
    # The failed answers bring an element of their own.
    allowed |= {("p", "class")}
    found = {(tag, name) for tag, attributes in page.elements for name in attributes}
    assert found <= allowed
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in honest.elements}
    assert "<script>steal()</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert not page.open


def test_same_comparison_same_bytes(comparison: Comparison) -> None:
    assert render_comparison(comparison) == render_comparison(comparison)


def test_a_tie_is_said_to_be_one(make: Callable[..., Comparison], tmp_path) -> None:  # type: ignore[no-untyped-def]
    tie = make(tmp_path, tie=True)
    assert tie.verdict.winner is None
    text = Page(render_comparison(tie)).text
    assert "not told apart" in text and "Choose" not in text


def test_markdown_has_the_figures_and_no_foreign_markup(
        comparison: Comparison, make: Callable[..., Comparison], tmp_path) -> None:  # type: ignore[no-untyped-def]
    text = comparison_markdown(comparison)
    assert text.startswith(f"# {comparison.verdict.sentence}\n")
    widths = [{line.count(" | ") for line in block.split("\n") if line.startswith("|")}
              for block in text.split("\n\n")]
    assert all(len(w) <= 1 for w in widths)
    hostile = comparison_markdown(make(tmp_path, per_kind=6, hostile=HOSTILE + "\n\n# x | y"))
    assert not re.search(r"(?<!\\)<", hostile)
    assert "\n# x" not in hostile


def test_terminal_fits_80_columns_and_drops_control_characters(
        make: Callable[..., Comparison], tmp_path, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("COLUMNS", "80")
    print_comparison(make(tmp_path), tmp_path / "report.html")
    out = capsys.readouterr().out
    assert out.index("both wins") < out.index("Means per answer")
    assert all(len(line) <= 80 for line in out.splitlines() if "report.html" not in line)
    assert "finetune" in out.split("Means per answer")[1].split("By kind")[0]
    print_comparison(make(tmp_path, per_kind=6, hostile="[red]\x1b[31m"))
    hostile = capsys.readouterr().out
    assert "\x1b" not in hostile and "[red]" in hostile


def test_findings_follow_the_figures(comparison: Comparison) -> None:
    said = {heading: " ".join(sentences) for heading, sentences in findings(comparison)}
    assert "finetune leads on label" in said["Why?"]
    assert "with many more of label, finetune" in said["What would change it?"]
    assert "2.6 times the time of finetune" in said["What does an answer cost?"]


@pytest.mark.parametrize(("made", "wanted"), [
    (number(-0.001), "0.00"), (number(-0.5), "−0.50"), (p_value(0.0002), "< 0.001"),
    (p_value(0.0414), "0.041"), (in_seconds(0.2431), "0.24 s"), (in_seconds(12.4), "12 s"),
    (in_seconds(1234.4), "1,234 s"), (in_seconds(0.0), "0 s"),
    (in_seconds(0.00002), "under 0.0001 s"),
    (listed(["a"]), "a"), (listed(["a", "b", "c"]), "a, b and c"),
])
def test_figures_in_words(made: str, wanted: str) -> None:
    assert made == wanted


def test_write_reports_puts_both_into_the_run_folder(
        make: Callable[..., Comparison], tmp_path) -> None:  # type: ignore[no-untyped-def]
    made = make(tmp_path, per_kind=6)
    assert write_reports(made) == tmp_path / "report.html"
    assert (tmp_path / "report.md").is_file()
    assert write_reports(made, tmp_path / "x.html").read_text(encoding="utf-8") == (
        tmp_path / "report.html").read_text(encoding="utf-8")


def test_drawing_needs_no_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, phi3kit.report.html, phi3kit.compare.results, "
         "phi3kit.report.terminal_comparison; print(*sys.modules)"],
        capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "chromadb", "scipy"} & set(done.stdout.split())
