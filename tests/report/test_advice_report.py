"""The views of an advice: each says what the record holds, and none does what data says."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import lxml.html
import pytest
from markdown_it import MarkdownIt

from phi3kit.advise.score import advise
from phi3kit.records import (
    Advice,
    Cost,
    Interval,
    Measured,
    MeasuredRun,
    Missing,
    Reason,
    Reversal,
    Settle,
    as_json,
)
from phi3kit.report import advice_text as words
from phi3kit.report.comparison_text import number
from phi3kit.report.html_advice import render_advice
from phi3kit.report.terminal_advice import markdown, print_advice, print_what_if

HOSTILE = ("<script>steal()</script><img src=x onerror=steal()>\"'><svg onload=steal()>"
           "</title></style></details></code></pre><a href=javascript:steal()>$x^2$ {{ 7*7 }} "
           "\x1b[31m\x07\u202e[bold red]rich[/] &lt;b&gt; | pipe | `tick` ``` **b** _i_ "
           "[l](//evil.example) ![i](//evil.example)\n\n# head\n\n- item\n\n---\n\n```\nfence")
NAME_FIELDS = ("recommendation", "decided", "method", "basis")


def full_record(tail: str = "") -> Advice:
    """Something in every field, each string unlike every other; `tail` ends them all."""
    count = iter(range(1000))

    def text() -> str:
        return f"word{next(count):03}end{tail}"

    def reason(*effects: float) -> Reason:
        return Reason(text(), text(), dict(zip(("base", "rag", "finetune", "both"), effects,
                                               strict=True)),
                      (text(), text()), text(), (f"for: {text()}", f"against: {text()}"))

    return Advice(
        recommendation="both", confidence=0.523, decided=False,
        scores={"base": 0.011, "rag": 0.124, "finetune": 0.034, "both": 0.831},
        reasons=(reason(0, 0.31, 0, 1.92), reason(0, 0, 0.73, 1.64), reason(0, 0.37, 0, 0.96),
                 reason(0, 0, 0.11, 0.58), reason(0, 0.29, 0, -1.87)),
        reverse_when=(Reversal((text(), text()), "rag"), Reversal((text(),), "finetune")),
        missing=(Missing(text(), text(), 0.21), Missing(text(), text(), 0.0)),
        scenario={text(): text(), text(): 345, text(): None, text(): False},
        method="qlora", method_why=text(), contradictions=(text(), text()),
        next=(text(), text()), rules_sha256=text(), basis="argued",
        measured=(Measured(text(), text(), text(), text()), Measured(text(), 20812, text())),
        costs=(Cost("rag", text(), 7.9, 9.1, 10.4, text(), text()),
               Cost("finetune", text(), 1450, 1450, 1450, text(), text())),
        settle=Settle(("both", "rag"), 262, 0.137, text(), text()),
        comparison=MeasuredRun(
            text(), text(), None, ("both", "finetune"),
            {"rag": Interval(0.42, 0.36, 0.48), "both": Interval(0.71, 0.63, 0.78)},
            169, 43, "both", (text(), text())))


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of everything that is not made of other values; keys of mappings too."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from leaves(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield f"{path} key", key
            yield from leaves(item, f"{path}[{key}]")
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def forms(value: Any) -> set[str]:
    """The ways in which a view may write a value."""
    if isinstance(value, str):
        return {value, words.METHODS.get(value, value)}
    if value is None or isinstance(value, bool):
        return {words.word(value)}
    return {str(value), words.amount(value), f"{value:.0%}", f"{value:.1%}", words.signed(value),
            number(value), f"{value * 100:g} points"}


def html_text(advice: Advice) -> str:
    page = lxml.html.document_fromstring(render_advice(advice))
    return " ".join(" ".join(page.xpath("//body//text()")).split())


def markdown_text(advice: Advice) -> str:
    tokens = MarkdownIt().enable("table").parse(markdown(advice))
    return " ".join(leaf.content for token in tokens for leaf in (token.children or [token]))


def _has(text: str, form: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(form)}(?![\w]|\.\d)", text) is not None


@pytest.mark.parametrize("view", [markdown_text, html_text])
def test_every_field_of_the_record_stands_in_the_full_views(
        view: Callable[[Advice], str]) -> None:
    advice = full_record()
    empty = [f.name for f in dataclasses.fields(advice)
             if getattr(advice, f.name) in (None, "", ()) ]
    assert not empty, f"the record of this test lacks {empty}"
    text = view(advice)
    # winner None is said by what could not be told apart; given None is an empty cell.
    lacking = [path for path, value in leaves(advice)
               if not any(_has(text, form) for form in forms(value))
               and not path.endswith((".winner", ".given", ".decided"))]
    assert lacking == []
    assert "both and finetune cannot be told apart" in text
    assert "not decided" in text.lower()


def test_the_views_differ_by_what_the_record_says() -> None:
    """A view that showed a field by chance would show it of another record, too."""
    before = full_record()
    after = dataclasses.replace(before, decided=True, basis="measured", comparison=None)
    for view in (markdown_text, html_text):
        assert "not decided" not in view(after).lower()
        assert "measured" in view(after).lower()
        assert "told apart" not in view(dataclasses.replace(after, settle=None)).lower()


def test_json_has_every_field() -> None:
    advice = full_record()
    printed = json.loads(json.dumps(as_json(advice)))
    assert list(printed) == [field.name for field in dataclasses.fields(Advice)]
    assert printed["settle"]["questions"] == 262


def screen(advice: Advice, capsys: pytest.CaptureFixture[str],
           monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_advice(advice)
    return capsys.readouterr().out


def test_the_screen_shows_what_weighs_most(
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    advice = full_record()
    assert advice.settle is not None
    assert advice.comparison is not None
    shown = screen(advice, capsys, monkeypatch)
    first = shown.splitlines()[0]
    assert first == "Advice: measure (leaning to both) – as likely wrong as right by the rules, 52%"
    flat = " ".join(shown.split())
    wanted = [*advice.contradictions, *advice.next, advice.settle.command, "262 questions",
              *advice.comparison.requirements, advice.comparison.run, "0.71 (0.63 to 0.78)",
              "9.1 word", "(7.9–10.4)", advice.method_why, "QLoRA"]
    for reason in (*advice.reasons[:3], advice.reasons[4]):
        wanted += [reason.rule, reason.statement, *reason.because, reason.evidence[0]]
    wanted += [change for item in advice.reverse_when for change in item.changes]
    for item in advice.measured:
        wanted += [item.field, words.word(item.value), item.how]
    wanted += [str(advice.measured[0].given), "which stands"]
    wanted += [advice.missing[0].question, "moves 21%"]
    assert [text for text in wanted if text not in flat] == []
    assert flat.index("What speaks against it") < flat.index(advice.reasons[4].rule)
    # What cannot move the advice, and what is only fourth, is left to the other views.
    assert advice.missing[1].field not in flat
    assert advice.reasons[3].rule not in flat


SCENARIO = {"task": "qa", "external_facts": "essential", "facts_in_request": "no",
            "citations": "required", "model_size_b": 3.8, "gpu_memory_gb": 24,
            "output_strictness": "high", "training_examples": 400}


def test_a_plain_advice_fits_a_screen(
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    advice = advise(SCENARIO)
    lines = screen(advice, capsys, monkeypatch).splitlines()
    assert len(lines) <= 34
    assert all(len(line) <= 80 for line in lines if not line.startswith("  phi3kit "))


@pytest.mark.parametrize("columns", [80, 40])
def test_a_screen_with_everything_wraps_all_but_commands(
        columns: int, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch) -> None:
    long = "phi3kit compare --questions a/very/long/path/to/the/questions.jsonl --arms rag,both"
    how = "31 of 78 documents changed in the last ninety days by version-control history " * 3
    advice = dataclasses.replace(
        advise(SCENARIO), next=("phi3kit ingest docs/",), decided=False,
        settle=Settle(("both", "rag"), 262, 0.1, long, "by McNemar's test"),
        measured=tuple(Measured(field, "high", how) for field in SCENARIO),
        costs=(Cost("both", "memory to train by QLoRA", 7.9, 9.1, 10.4, "GB", "counted"),))
    lines = screen(advice, capsys, monkeypatch, columns).splitlines()
    assert f"  {long}" in lines
    assert all(len(line) <= columns for line in lines if not line.startswith("  phi3kit "))
    if columns == 80:
        assert len(lines) <= 45
        assert sum(line.startswith(tuple(f"  {field} = high" for field in SCENARIO))
                   for line in lines) == len(SCENARIO)


def skeleton(page: str) -> list[tuple[Any, dict[str, str]]]:
    """Every element with its attributes, but for the title of the page."""
    return [(element.tag, dict(element.attrib))
            for element in lxml.html.document_fromstring(page).iter()]


def test_hostile_words_make_no_element_and_no_attribute() -> None:
    benign, hostile = render_advice(full_record()), render_advice(full_record(HOSTILE))
    assert "steal()" in hostile
    assert skeleton(hostile) == skeleton(benign)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", hostile)
    assert "$x^2$ {{ 7*7 }}" in hostile


def test_hostile_words_make_no_markdown() -> None:
    def structure(advice: Advice) -> list[str]:
        tokens = MarkdownIt().enable(["table", "strikethrough"]).parse(markdown(advice))
        kinds = []
        for token in tokens:
            kinds.append(f"{token.type} {token.tag}")
            kinds += [child.type for child in token.children or []
                      if child.type not in ("text", "text_special", "code_inline", "softbreak")]
        return kinds

    said = markdown(full_record(HOSTILE))
    assert structure(full_record(HOSTILE)) == structure(full_record())
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", said)
    assert "html_inline" not in structure(full_record(HOSTILE))


def test_commands_can_be_copied_from_every_view(
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    commands = ("```", "phi3kit ingest 'my  docs/<new> & `old`/'")
    advice = dataclasses.replace(full_record(), next=commands, settle=None)
    fences = [token for token in MarkdownIt().parse(markdown(advice)) if token.type == "fence"]
    assert [token.content.splitlines() for token in fences] == [list(commands)]
    page = lxml.html.document_fromstring(render_advice(advice))
    assert page.xpath("//pre/code/text()") == list(commands)
    lines = screen(advice, capsys, monkeypatch, 40).splitlines()
    assert [line[2:] for line in lines[-2:]] == list(commands)


def test_hostile_words_stay_words_on_the_screen(
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = screen(full_record(HOSTILE), capsys, monkeypatch)
    assert "[bold red]rich[/]" in shown
    assert all(c.isprintable() for c in shown.replace("\n", ""))
    monkeypatch.setenv("COLUMNS", "80")
    print_what_if(full_record(), full_record(HOSTILE), {"task": HOSTILE})
    assert all(c.isprintable() for c in capsys.readouterr().out.replace("\n", ""))


def test_the_page_needs_nothing_from_outside_and_allows_no_script() -> None:
    raw = render_advice(full_record())
    page = lxml.html.document_fromstring(raw)
    for tag in ("script", "link", "img", "iframe", "object", "embed", "base", "form"):
        assert not page.xpath(f"//{tag}")
    assert not page.xpath("//@style")
    for target in page.xpath("//@href | //@src"):
        assert target.startswith("#")
        assert page.xpath("//*[@id=$id]", id=target[1:])
    policy = page.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")[0]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    css = re.search("<style>(.*?)</style>", raw, re.DOTALL)
    assert css is not None
    digest = base64.b64encode(hashlib.sha256(css[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy


def test_the_page_can_be_read_by_ear_and_by_keyboard() -> None:
    page = lxml.html.document_fromstring(render_advice(full_record()))
    assert page.get("lang") == "en"
    assert len(page.xpath("//h1")) == len(page.xpath("//main")) == 1
    ids = page.xpath("//@id")
    assert len(ids) == len(set(ids))
    for label in page.xpath("//@aria-labelledby"):
        assert label in ids
    assert all(svg.get("aria-hidden") for svg in page.xpath("//svg"))
    for table in page.xpath("//table"):
        assert table.xpath(".//th[@scope='col']")
        assert len(table.xpath(".//tbody/tr")) == len(table.xpath(".//tbody/tr/th[@scope='row']"))
    for region in page.xpath("//*[@class='wide']"):
        assert region.get("tabindex") == "0"
        assert region.get("aria-label")


def test_bars_are_as_long_as_the_shares() -> None:
    page = lxml.html.document_fromstring(render_advice(full_record()))
    best = page.xpath("//section[@aria-labelledby='shares-heading']//rect[@class='best']")
    assert [rect.get("width") for rect in best] == ["83.10"]


def test_measured_goes_before_argued_and_says_so() -> None:
    base = full_record()
    assert base.comparison is not None
    run = dataclasses.replace(base.comparison, winner="rag", contenders=("rag",))
    advice = dataclasses.replace(base, recommendation="rag", basis="measured", decided=True,
                                 comparison=run)
    said = " ".join(words.outcome(advice))
    assert "rag beats every other option" in said
    assert "The rules alone argue for both: measured goes before argued." in said
    for level, shown in ((0.95, "95%"), (0.995, "99.5%")):  # as it was set
        assert words.sure(dataclasses.replace(advice, confidence=level)) == (
            f"measured, at {shown} confidence")
    open_ = dataclasses.replace(advice, decided=False)
    assert "not all that is asked for" in words.standing(open_)
    tied = dataclasses.replace(open_, confidence=0.5, comparison=base.comparison)
    assert words.sure(tied) == "measured, one of 2 not told apart, 50%"
    # The rules' pull is told for what they argue for, not for what was measured.
    assert words.weighed(advice)[0].reason == base.reasons[0]
    assert markdown(advice).startswith("# Advice: rag: retrieve\n")


def test_what_if_shows_changed_costs(
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = advise(SCENARIO)
    memory = Cost("both", "memory to train", 7.9, 9.1, 10.4, "GB", "counted")
    time = Cost("both", "time to train", 1, 1, 1, "h", "counted")
    monkeypatch.setenv("COLUMNS", "80")
    print_what_if(dataclasses.replace(before, costs=(memory, time)),
                  dataclasses.replace(before, costs=(
                      dataclasses.replace(memory, expected=21.0, high=25.0), time)),
                  {"model_size_b": 14})
    shown = capsys.readouterr().out
    assert "With model_size_b = 14: " in shown
    assert "both, memory to train: 9.1 GB (7.9–10.4) -> 21 GB (7.9–25)" in shown
    assert "time to train" not in shown


def test_costs_that_are_the_same_are_told_once() -> None:
    one = Cost("finetune", "memory to train", 7.9, 9.1, 10.4, "GB", "counted")
    advice = dataclasses.replace(full_record(), costs=(
        one, dataclasses.replace(one, option="both"),
        dataclasses.replace(one, option="rag", expected=9.2)))
    assert [options for options, _ in words.costs(advice)] == [("finetune", "both"), ("rag",)]
    assert words.cost(*words.costs(advice)[0]) == (
        "memory to train (finetune, both): 9.1 GB (7.9–10.4)")
    tokens = Cost("rag", "tokens to index", 800, 800, 800, "tokens", "")
    assert words.cost(("rag",), tokens) == "tokens to index (rag): 800"


def test_an_advice_without_answers_is_drawn() -> None:
    advice = advise({})
    assert "Nothing is answered yet" in html_text(advice)
    assert "Nothing is answered yet" in markdown_text(advice)


@pytest.mark.parametrize(("value", "said"), [
    (9.12, "9.1"), (1450.0, "1,450"), (0.254, "0.25"), (0.0, "0"), (130.4, "130"), (24, "24")])
def test_amounts(value: float, said: str) -> None:
    assert words.amount(value) == said


def test_drawing_needs_no_heavy_import() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, phi3kit.report.html_advice, "
         "phi3kit.report.terminal_advice; print(*sys.modules)"],
        capture_output=True, text=True, check=True)
    assert not {"torch", "jinja2", "matplotlib", "numpy"} & set(done.stdout.split())
