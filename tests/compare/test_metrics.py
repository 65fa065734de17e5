"""What an answer is worth, case by case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3kit.compare import words
from phi3kit.compare.metrics import METRICS, Seen, closed_kinds, measure
from phi3kit.dataset.sources import same_source
from phi3kit.records import Question


@pytest.mark.parametrize(("text", "normal"), [
    ("The Winch!", "winch"),
    ("  a   seal-type ", "sealtype"),
    ("7.5 bar", "7.5 bar"),
    ("1,000 litres.", "1000 litres"),
    ("10–12 mm", "10 12 mm"),
    ("-5 °C", "-5 °c"),
    ("A", "a"),
    ("“Quoted” text…", "quoted text"),
    ("(e.g. a **bold** `word`), it’s so!", "eg bold word its so"),
    ("# Head\n- one\n* two\n• three\n> four", "head one two three four"),
    ("one — two -- three - four / five | six", "one two three four five six"),
    ("(-5) and −5", "-5 and -5"),
    ("1½ or ¼ of 10² m²", "1 1/2 or 1/4 of 10 ^ 2 m2"),
    ("1,000.5, .5, v.5", "1000.5 0.5 v5"),
    ("10:30-11:00", "10:30 11:00"),
    ("5% = 5 %, $5 = $ 5, n<=5", "5 % = 5 % $ 5 = $ 5 n <= 5"),
    ("$x = 5$", "x = 5"),
    ("¿Sí? القاهرة\u200f؟ दिल्ली। ＡＢ１２ Straße", "sí القاهرة दिल्ली ab12 strasse"),
    ("東京タワーです。", "東 京 タワー で す"),
    ("{}", "{}"), ("-", "-"), ("The", "the"), ("", ""),
])
def test_normalise(text: str, normal: str) -> None:
    assert words.normalise(text) == normal


@pytest.mark.parametrize(("output", "gold", "exact", "f1", "inside"), [
    ("Number four", ["number four"], 1, 1.0, 1),
    ("It needs grease number four", ["number four"], 0, 2 * 2 / (5 + 2), 1),
    ("four", ["number four"], 0, 2 / 3, 0),
    ("fourteen", ["four"], 0, 0.0, 0),
    ("nothing alike", ["number four"], 0, 0.0, 0),
    ("75 bar", ["7.5 bar"], 0, 0.5, 0),
    ("blue", ["red", "blue"], 1, 1.0, 1),
    ("", ["red"], 0, 0.0, 0),
    ("four four", ["four"], 0, 2 / 3, 1),
])
def test_measures_of_text(output: str, gold: list[str], exact: float, f1: float,
                          inside: float) -> None:
    assert words.exact_match(output, gold) == exact
    assert words.token_f1(output, gold) == pytest.approx(f1)
    assert words.contains(output, gold) == inside


@pytest.mark.parametrize(("one", "other"), [
    ("AA+", "AA-"), ("A", "A-"), ("A", "A+"), ("A", "A*"), ("C", "C#"), ("C", "C++"),
    ("a == b", "a != b"), ("n <= 5", "n >= 5"), ("5%", "5"), ("y = -x", "y = x"), ("R&D", "RD"),
    ("7,5 mm", "75 mm"), ("3/4", "34"), ("10:30", "1030"), (".5", "5"), ("10²", "102"),
    ("km/h", "kmh"), ("5′", "5″"), ("", "-"), ("", "{}"), ("[]", "{}"), ("-", "+"),
])
def test_different_answers_are_not_equal(one: str, other: str) -> None:
    assert words.exact_match(one, [other]) == words.exact_match(other, [one]) == 0
    assert words.exact_match(one, [one]) == words.exact_match(other, [other]) == 1


@pytest.mark.parametrize(("output", "gold"), [
    ("北京。", "北京"), ("दिल्ली।", "दिल्ली"), ("القاهرة؟", "القاهرة"), ("¿sí?", "sí"),
    ("cafe\u0301", "café"), ("１２", "12"), ("½", "1/2"), (".5", "0.5"), ("3 / 4", "3/4")])
def test_one_answer_in_two_spellings(output: str, gold: str) -> None:
    assert words.exact_match(output, [gold]) == 1


def test_each_sign_of_chinese_is_a_word() -> None:
    assert words.contains("中国的首都是北京。", ["北京"]) == 1
    assert words.token_f1("首都是北京。", ["北京"]) == pytest.approx(2 * 2 / (5 + 2))


@pytest.mark.parametrize("label", ["A", "B", "a"])
def test_a_choice_that_is_an_article_is_found_like_any_other(label: str) -> None:
    found = scores(question(answers=(label,)), f"The answer is {label.upper()}.")
    assert {found[name] for name in ("contains", "span_f1")} == {1}
    assert found["score"] == found["rouge_l"] == pytest.approx(2 / (3 + 1))
    assert words.contains("It is a seal.", ["A"]) == 0
    assert words.exact_match(f"{label}.", [label]) == words.exact_match("the seal", ["seal"]) == 1


@pytest.mark.parametrize(("output", "rest"), [
    ("Number four [1].", "Number four"),
    ("Number four. [1][2]", "Number four"),
    ("Number four [1, 2] and oil [3]", "Number four and oil"),
])
def test_citations_and_full_stop_do_not_count(output: str, rest: str) -> None:
    assert words.plain(output) == rest


@pytest.mark.parametrize(("source", "wanted", "same"), [
    ("data/docs/winch.md", "winch.md", True),
    ("winch.md", "data/docs/winch.md", True),
    ("data/docs/winch.md", "inch.md", False),
    ("data/docs/winch.md", "./docs/winch.md", True),
    ("data/docs/winch.md", "other/winch.md", False),
    ("docs/Gru\u0308n.md", "Gr\u00fcn.md", True),  # as a Mac writes it, and as one types it
    ("docs/Gr\u00fcn.md", "docs/Gru\u0308n.md", True),
])
def test_same_source(source: str, wanted: str, same: bool) -> None:
    assert same_source(source, wanted) is same


def question(**more: object) -> Question:
    return Question(**{"id": "q", "question": "?", "answers": ("four",),
                       "source_ids": ("a.md",), **more})  # type: ignore[arg-type]


def test_closed_kinds_repeat_few_labels() -> None:
    labels = [question(kind="label", answers=(f"fault {i % 3}",)) for i in range(9)]
    facts = [question(kind="fact", answers=(f"value {i}",)) for i in range(9)]
    few = [question(kind="few", answers=("yes",)) for _ in range(3)]
    assert closed_kinds([*labels, *facts, *few]) == {"label"}
    many = [question(kind="many", answers=(f"l{i % 21}",)) for i in range(100)]
    assert closed_kinds(many) == frozenset()
    grades = [question(kind="grade", answers=(("A+", "A", "A-")[i % 3],)) for i in range(5)]
    assert closed_kinds(grades) == frozenset(), "three labels of five questions"


def scores(asked: Question, output: str, **more: object) -> dict[str, float]:
    return measure(Seen(asked, output, closed=asked.kind == "label", **more))  # type: ignore[arg-type]


def test_score_is_token_f1_or_the_exact_label() -> None:
    assert scores(question(), "number four")["score"] == pytest.approx(2 / 3)
    assert scores(question(kind="label"), "number four")["score"] == 0
    assert scores(question(kind="label"), "Four.")["score"] == 1


def test_abstaining_is_right_only_where_there_is_no_answer() -> None:
    none = question(answers=(), answerable=False)
    right, wrong = scores(none, "I do not know.", abstained=True), scores(none, "four")
    assert {right[name] for name in ("score", "exact_match", "contains", "abstention")} == {1}
    assert {wrong[name] for name in ("score", "exact_match", "contains", "abstention")} == {0}
    shy = scores(question(), "I do not know: four", abstained=True)
    assert shy["score"] == shy["contains"] == shy["abstention"] == 0
    assert scores(question(), "four")["abstention"] == 1


def test_an_error_is_worth_nothing() -> None:
    for asked in (question(), question(answers=(), answerable=False)):
        failed = scores(asked, "", error=True, retrieved=True, shown=("a.md",))
        assert set(failed.values()) == {0}


def test_retrieval_and_citations_count_only_where_they_apply() -> None:
    assert "hit_at_k" not in scores(question(), "four")
    assert scores(question(), "four", retrieved=True, shown=("d/b.md", "d/a.md"))["hit_at_k"] == 1
    assert scores(question(), "four", retrieved=True, shown=("d/b.md",))["hit_at_k"] == 0
    assert "hit_at_k" not in scores(question(source_ids=()), "four", retrieved=True)
    both = scores(question(), "four [1][2]", cited=("d/a.md", "d/b.md"))
    assert both["citation_precision"] == 0.5
    assert "citation_precision" not in scores(question(), "four")


def test_words_around_a_right_answer_are_form() -> None:
    found = scores(question(answers=("marine grease",)), "It needs marine grease number four.")
    assert found["token_f1"] == pytest.approx(4 / 8)
    assert found["span_f1"] == found["contains"] == 1
    assert found["length_ratio"] == 3
    wrong = scores(question(answers=("marine grease",)), "It needs oil")
    assert wrong["span_f1"] == wrong["contains"] == 0


@pytest.mark.parametrize(("output", "gold", "best"), [
    ("a b c", ["b"], 1), ("a b x c", ["b c"], 4 / 5), ("x y", ["b c"], 0), ("", ["b"], 0),
    ("b x x x x x x x x c", ["b c"], 2 / 3), ("b b", ["b"], 1), ("c b", ["b c"], 1),
])
def test_best_stretch(output: str, gold: list[str], best: float) -> None:
    from phi3kit.compare.overlap import span_f1

    assert span_f1(output.split(), [g.split() for g in gold]) == pytest.approx(best)


@given(st.lists(st.sampled_from("abcx"), max_size=12), st.lists(st.sampled_from("abc"), min_size=1,
                                                                max_size=5))
def test_best_stretch_is_the_best_of_all(output: list[str], gold: list[str]) -> None:
    from collections import Counter

    from phi3kit.compare.overlap import span_f1

    def f1(part: list[str]) -> float:
        shared = sum((Counter(part) & Counter(gold)).values())
        return 2 * shared / (len(part) + len(gold))

    wanted = max((f1(output[i:j]) for i in range(len(output))
                  for j in range(i + 1, len(output) + 1)), default=0.0)
    assert span_f1(output, [gold]) == pytest.approx(wanted)


def test_library_measures_take_the_best_gold_answer_in_any_script() -> None:
    # ROUGE-L by hand: LCS "grease four" of 3 and 3 words. chrF of equal texts is 1.
    found = scores(question(answers=("oil", "grease number four")), "grease, four now")
    assert found["rouge_l"] == pytest.approx(2 / 3)
    cyrillic = scores(question(answers=("смазка номер четыре",)), "смазка номер четыре")
    assert (cyrillic["rouge_l"], cyrillic["chrf"]) == (1, 1)
    assert 0 < scores(question(answers=("greased",)), "grease")["chrf"] < 1


def test_labels_are_counted_where_answers_are_labels() -> None:
    assert scores(question(kind="label"), "Four.")["label_accuracy"] == 1
    assert scores(question(kind="label"), "number four")["label_accuracy"] == 0
    assert "label_accuracy" not in scores(question(), "four")
    unlabelled = [question(answers=(f"fault {i % 3}",)) for i in range(9)]
    assert closed_kinds(unlabelled) == {""}


def test_terms_that_a_good_answer_uses() -> None:
    asked = question(terms=("sill", "mitre gate"))
    assert scores(asked, "The sill of the gate.")["term_recall"] == 0.5
    assert scores(asked, "Sills.")["term_recall"] == 0
    assert "term_recall" not in scores(question(), "sill")


def test_means_over_the_rows_that_have_it_are_precision_and_recall() -> None:
    none = question(answers=(), answerable=False)
    shy = scores(question(), "I do not know", abstained=True)
    right = scores(none, "I do not know", abstained=True)
    bold = scores(none, "four")
    assert (shy["abstention_precision"], right["abstention_precision"]) == (0, 1)
    assert "abstention_precision" not in bold
    assert (right["abstention_recall"], bold["abstention_recall"]) == (1, 0)
    assert "abstention_recall" not in shy


def test_citation_recall_is_of_the_documents_that_hold_the_answer() -> None:
    two = question(source_ids=("a.md", "c.md"))
    assert scores(two, "four [1]", cited=("d/a.md", "d/b.md"), reads=True)["citation_recall"] == 0.5
    assert scores(two, "four", reads=True)["citation_recall"] == 0
    assert "citation_recall" not in scores(two, "four")


def test_harm_counts_only_in_answers_from_passages() -> None:
    made_up = scores(question(), "7 [9]", shown=("a.md",), fabricated=True, unsupported=("7",))
    assert made_up["fabricated_citations"] == made_up["unsupported_numbers"] == 1
    honest = scores(question(), "four", shown=("a.md",))
    assert honest["fabricated_citations"] == honest["unsupported_numbers"] == 0
    for other in (scores(question(), "7"), scores(question(), "", shown=("a.md",), error=True),
                  scores(question(), "I do not know", shown=("a.md",), abstained=True)):
        assert "fabricated_citations" not in other
        assert "unsupported_numbers" not in other


def test_every_metric_has_a_name_in_the_list() -> None:
    full = measure(Seen(question(kind="label", format="f", terms=("x",)), "I do not know",
                        abstained=True, shown=("a.md",), cited=("a.md",), closed=True,
                        retrieved=True, reads=True), {"f": lambda _: True})
    talks = scores(question(), "four", shown=("a.md",))
    none = scores(question(answers=(), answerable=False), "four")
    assert {*full, *talks, *none, "similarity"} == set(METRICS)
