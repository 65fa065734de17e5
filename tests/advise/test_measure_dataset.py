"""Answers measured in training examples: made so that the right answer is known, and real ones."""

import json
import random
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi3kit.advise.measure.corpus import Corpus, CorpusDocument, read_corpus
from phi3kit.advise.measure.dataset import measure_dataset
from phi3kit.advise.measure.facts import place
from phi3kit.advise.measure.passages import Passages, tokens
from phi3kit.advise.measure.quality import cut_off, find_faults
from phi3kit.dataset.copies import contradictions, near_copies
from phi3kit.dataset.forms import read_forms
from phi3kit.dataset.pairs import Pair, read_dataset
from phi3kit.errors import DataError
from phi3kit.shipped import shipped

SAMPLE = shipped("data")
TEXT = """the report came early and everyone was glad about the long road by the water where
people meet after work to talk about small things and the price of bread while rain
falls on open fields and children play near an old house with a green door"""
PLAIN = TEXT.split()


def name(rng):
    """A name that no text holds."""
    return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(3)).title()


def names(rng, count):
    found = []
    while len(found) < count:
        if (one := name(rng)) not in found:
            found.append(one)
    return found


def prose(rng, words):
    return " ".join(rng.choice(PLAIN) for _ in range(words)).capitalize() + "."


def copied(pairs):
    return sum(of is not None for of in near_copies(pairs))


def write(folder, pairs, sources=None):
    path = Path(folder) / "train.jsonl"
    rows = [{"question": q, "answer": a} for q, a in pairs]
    for row, found in zip(rows, sources or (), strict=False):
        row["source_ids"] = found
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def corpus(texts):
    return Corpus(tuple(CorpusDocument(name, Path(name), text) for name, text in texts.items()))


def answers(findings):
    """Every field with its value, None where there is none; each looked at once."""
    known = {m.field: m.value for m in findings.measured}
    missing = {m.where: None for m in findings.unmeasured}
    assert not known.keys() & missing.keys()
    assert all(m.how and "\n" not in m.how for m in findings.measured)
    assert all(m.why and "\n" not in m.why for m in findings.unmeasured)
    return known | missing


def how(findings, field):
    return next(m.how for m in findings.measured if m.field == field)


# --- datasets whose answers are known -----------------------------------------------------


def labelled(rng, count=120):
    kinds = ["billing", "delivery", "broken part", "refund"]
    return [(f"Ticket {n}: {prose(rng, 20)} {name(rng)} rang.", rng.choice(kinds))
            for n in range(count)]


def extracted(rng, count=60):
    pairs = []
    for _ in range(count):
        who, place, number = name(rng), name(rng), rng.randrange(1000, 99999)
        text = f"{prose(rng, 10)} {who} from {place} ordered number {number}. {prose(rng, 8)}"
        pairs.append((text, json.dumps({"name": who, "town": place, "order": number})))
    return pairs


def manuals(rng, count=60):
    """Documents on one thing each, and questions that each has the answer of."""
    texts, pairs = {}, []
    for thing, part in zip(names(rng, count), names(rng, count), strict=True):
        weight = rng.randrange(100, 9999)
        texts[f"manuals/{thing.lower()}.md"] = (
            f"# {thing}\n\n{prose(rng, 30)} The {thing} weighs {weight} kilograms and its valve "
            f"is a {part}. {prose(rng, 30)}")
        pairs.append(rng.choice([
            (f"How heavy is the {thing}?", f"{weight} kilograms"),
            (f"Which valve has the {thing}?", f"a {part}")]))
    return texts, pairs


def joined(rng, count=40):
    """Every answer takes a name from one document and one from another."""
    texts, pairs = {}, []
    for one, other in zip(names(rng, 2 * count)[::2], names(rng, 2 * count)[1::2], strict=True):
        first, second = name(rng) + "ko", name(rng) + "xa"
        texts[f"{one}.md"] = f"{one} was built by {first}. {prose(rng, 60)}"
        texts[f"{other}.md"] = f"{other} was built by {second}. {prose(rng, 60)}"
        pairs.append((f"Who built {one} and who built {other}?", f"{first} and {second}"))
    return texts, pairs


def restyled(rng, count=60):
    """The same names and numbers in other words."""
    pairs = []
    for _ in range(count):
        who, number = name(rng), rng.randrange(100, 999)
        pairs.append((f"Rewrite kindly: {who} must send {number} boxes now. {prose(rng, 14)}",
                      f"Would {who} be so kind as to let us have {number} boxes, please? "
                      f"{prose(rng, rng.randrange(3, 40))} Thank you, {who}."))
    return pairs


def test_labels_are_closed_strict_and_decided_from_the_request(tmp_path):
    found = answers(measure_dataset(write(tmp_path, labelled(random.Random(1))), None))
    assert found == {
        "training_examples": 120, "dataset_quality": None, "closed_output": True,
        "output_strictness": "high", "task": "classification", "facts_in_request": "yes",
        "external_facts": "none", "multi_document": None}


def test_labels_that_documents_mention_are_still_not_external(tmp_path):
    texts = {f"{n}.md": f"A ticket on {word}. {prose(random.Random(n), 80)}"
             for n, word in enumerate(["billing", "delivery", "broken part", "refund"] * 5)}
    found = answers(measure_dataset(write(tmp_path, labelled(random.Random(1))), corpus(texts)))
    assert (found["external_facts"], found["facts_in_request"]) == ("none", "yes")


def test_values_copied_into_json_are_extraction(tmp_path):
    found = answers(measure_dataset(write(tmp_path, extracted(random.Random(2))), None))
    assert found == {
        "training_examples": 60, "dataset_quality": None, "closed_output": True,
        "output_strictness": "high", "task": "extraction", "facts_in_request": "yes",
        "external_facts": "none", "multi_document": None}


def test_json_whose_values_are_not_in_the_request_is_no_extraction(tmp_path):
    rng = random.Random(3)
    pairs = [(f"Who is number {n}?", json.dumps({"name": name(rng)})) for n in range(40)]
    found = answers(measure_dataset(write(tmp_path, pairs), None))
    assert found["task"] is None
    assert found["facts_in_request"] is None
    assert found["output_strictness"] == "high"


def test_answers_from_documents_are_external(tmp_path):
    texts, pairs = manuals(random.Random(4))
    path = write(tmp_path, pairs)
    findings = measure_dataset(path, corpus(texts))
    found = answers(findings)
    assert found["external_facts"] == "essential"
    assert found["facts_in_request"] == "no"
    assert found["task"] is None
    assert "60 in the documents" in how(findings, "external_facts")
    without = answers(measure_dataset(path, None))
    assert without["external_facts"] is None
    assert without["facts_in_request"] is None


def test_the_same_answers_with_the_documents_in_the_request(tmp_path):
    texts, pairs = manuals(random.Random(4))
    passages = list(texts.values())
    pairs = [(f"{passages[n]}\n\n{question}", answer) for n, (question, answer)
             in enumerate(pairs)]
    found = answers(measure_dataset(write(tmp_path, pairs), corpus(texts)))
    assert (found["facts_in_request"], found["external_facts"]) == ("yes", "none")


def test_a_part_of_the_facts_from_documents(tmp_path):
    texts, asked = manuals(random.Random(4), count=20)
    path = write(tmp_path, [*asked, *labelled(random.Random(5), count=80)])
    found = answers(measure_dataset(path, corpus(texts)))
    assert (found["facts_in_request"], found["external_facts"]) == ("yes", "some")
    path = write(tmp_path, [*asked, *labelled(random.Random(5), count=20)])
    assert answers(measure_dataset(path, corpus(texts)))["facts_in_request"] == "partly"


def test_answers_that_no_document_holds_make_no_claim(tmp_path):
    texts, _ = manuals(random.Random(4))
    _, other = manuals(random.Random(6))
    findings = measure_dataset(write(tmp_path, other), corpus(texts))
    assert answers(findings)["external_facts"] is None
    assert any("60 in neither" in m.why for m in findings.unmeasured
               if m.where == "external_facts")


def test_numbers_alone_are_not_found_by_chance(tmp_path):
    rng = random.Random(7)
    texts = {f"{n}.md": prose(rng, 20) + " ".join(str(rng.randrange(100)) for _ in range(40))
             for n in range(50)}
    pairs = [(f"How many windows has the {name(rng)}?", str(rng.randrange(100)))
             for _ in range(60)]
    findings = measure_dataset(write(tmp_path, pairs), corpus(texts))
    assert answers(findings)["external_facts"] is None


def test_restyling_is_open_and_brings_its_facts(tmp_path):
    found = answers(measure_dataset(write(tmp_path, restyled(random.Random(8))), None))
    assert found["closed_output"] is False
    assert found["facts_in_request"] == "yes"
    assert found["external_facts"] == "none"
    assert found["task"] is None
    assert found["output_strictness"] in ("low", "medium")


def test_answers_that_take_two_documents(tmp_path):
    texts, pairs = joined(random.Random(9))
    found = answers(measure_dataset(write(tmp_path, pairs), corpus(texts)))
    assert (found["multi_document"], found["external_facts"]) == (True, "essential")
    single, asked = manuals(random.Random(4))
    assert answers(measure_dataset(write(tmp_path, asked), corpus(single)))[
        "multi_document"] is None  # joins can be invisible


@pytest.mark.parametrize(("each", "expected"), [(1, False), (2, True)])
def test_named_sources_tell_how_many_documents_an_answer_takes(tmp_path, each, expected):
    texts, pairs = manuals(random.Random(4))
    named = list(texts)
    sources = [[named[n], named[n - 1]][:each] for n in range(len(pairs))]
    for documents in (corpus(texts), None):
        findings = measure_dataset(write(tmp_path, pairs, sources), documents)
        assert answers(findings)["multi_document"] is expected
        assert "60 answers" in how(findings, "multi_document")


def test_a_named_source_needs_no_words_of_the_question(tmp_path):
    texts, pairs = manuals(random.Random(4))
    pairs = [("What is asked for on this sheet?", answer) for _, answer in pairs]
    pairs = [(f"{question} ({n})", answer) for n, (question, answer) in enumerate(pairs)]
    sources = [[Path(source).name] for source in texts]
    found = answers(measure_dataset(write(tmp_path, pairs, sources), corpus(texts)))
    assert found["external_facts"] == "essential"
    assert answers(measure_dataset(write(tmp_path, pairs), corpus(texts)))[
        "external_facts"] is None


def where(pairs, texts):
    """Where the facts of each pair stand, in the order of the pairs' texts."""
    return dict(place(read_forms([Pair(*pair) for pair in pairs]), corpus(texts)).where)


HOIST = f"The Zuvika hoist weighs 4411 kilograms. {prose(random.Random(1), 80)}"


@pytest.mark.parametrize(("request_", "answer", "expected"), [
    ("How heavy is the Zuvika hoist?", "4411 kilograms", "documents"),
    ("How heavy is the Zuvika hoist?", "4,411.0 kilograms.", "documents"),
    ("How heavy is the Zuvika hoist?", "4412 kilograms", "neither"),
    ("How heavy is the Mabola crane?", "4411 kilograms", "neither"),
    ("What heft roughly speaking has the Zuvika hoist?",
     "Roughly speaking the heft of the Zuvika hoist is 4411 kilograms", "documents"),
    ("Is the Zuvika hoist heavy?", "Yes, it is.", "plain"),
    ("The Zuvika hoist weighs 4411 kilograms. What does it weigh?", "4411 kilograms", "request"),
    ("A Zuvika hoist lifts kegs and crates with 20 and 30 kilograms. Add them up.",
     "The Zuvika hoist lifts kegs and crates with 50 kilograms.", "neither"),
    ("What is the colour of the Zuvika hoist?", "I do not know.", "abstention"),
])
def test_where_a_fact_stands(request_, answer, expected):
    assert where([(request_, answer)], {"hoist.md": HOIST, "other.md": prose(
        random.Random(2), 90)}) == {expected: 1}


def test_what_stands_everywhere_proves_nothing():
    texts = {f"{n}.md": prose(random.Random(n), 80) for n in range(60)} | {"hoist.md": HOIST}
    assert where([("What is the Zuvika hoist near?", "the water")], texts) == {"common": 1}
    assert where([("How heavy is the Zuvika hoist?", "4411")], texts) == {"documents": 1}


def test_a_second_document_must_add_something():
    rng = random.Random(19)
    parts = [name(rng) + "rik" for _ in range(10)]
    question, answer = "Which parts have Zuvika and Mabola?", ", ".join(parts)

    def split(first, second):
        return where([(question, answer)], {
            "a.md": f"Zuvika has {' '.join(parts[first])}. {prose(rng, 50)}",
            "b.md": f"Mabola has {' '.join(parts[second])}. {prose(rng, 50)}"})

    assert split(slice(0, 5), slice(5, 10)) == {"several": 1}
    assert split(slice(0, 7), slice(7, 8)) == {"neither": 1}
    assert split(slice(0, 8), slice(8, 10)) == {"documents": 1}


def test_what_all_structured_answers_repeat_is_no_fact(tmp_path):
    rng = random.Random(20)
    pairs = [(f"{prose(rng, 9)} {who} rang.", json.dumps({"state": "drafted", "from": who}))
             for who in names(rng, 40)]
    found = answers(measure_dataset(write(tmp_path, pairs), None))
    assert (found["facts_in_request"], found["external_facts"]) == ("yes", "none")


# --- forms --------------------------------------------------------------------------------


def made(kind, rng, n):
    lamp, number = name(rng), rng.randrange(10, 99)
    return {
        "label": rng.choice(["north", "south"]),
        "call": f'{rng.choice(["turn_on", "turn_off"])}(device="{lamp}", level={number})',
        "query": f"SELECT a FROM t WHERE {lamp} = {number}",
        "code": f"{rng.choice('AB')}{rng.randrange(9)}.{rng.randrange(9)}",
        "template": f"{rng.choice(['TOL', 'HOL'])} / {rng.choice(['lamp', 'horn'])} dark",
        "long template": f"Cause: {prose(rng, 12)}\nRemedy: {prose(rng, 15)}",
        "ending": f"{prose(rng, 15)} [QX-{number}]",
        "prose": prose(rng, rng.randrange(5, 90)),
        "python": f"def f{n}(a):\n    return a + {number}",
        "short": f"{number} {name(rng)}",
    }[kind]


@pytest.mark.parametrize(("kind", "closed", "strictness"), [
    ("label", True, "high"), ("call", True, "high"), ("query", True, "high"),
    ("code", True, "high"), ("template", True, "high"), ("long template", False, "high"),
    ("ending", False, "high"), ("prose", False, "low"), ("short", False, "medium"),
])
def test_form(tmp_path, kind, closed, strictness):
    rng = random.Random(10)
    pairs = [(f"{n}: {prose(rng, 12)}", made(kind, rng, n)) for n in range(120)]
    found = answers(measure_dataset(write(tmp_path, pairs), None))
    assert (found["closed_output"], found["output_strictness"]) == (closed, strictness)


def test_prose_is_not_taken_for_a_query_a_call_or_a_template():
    texts = ["Select one item from the menu and press Save.", "It is open (mostly).",
             "Either this and/or that; both will do.", "He said: wait for me here.",
             *(prose(random.Random(n), 30) for n in range(20))]
    forms = read_forms([Pair(f"q{n}", text) for n, text in enumerate(texts)])
    assert {form.name for form in forms.of} == {"free"}


def test_many_functions_with_the_request_s_values(tmp_path):
    rng = random.Random(17)
    pairs = []
    for number in range(90):
        who, call = name(rng), f"get_{name(rng).lower()}" if number % 3 else "send_mail"
        pairs.append((f"{prose(rng, 8)} It is for {who}, {number} times.",
                      f'{call}({name(rng).lower()}="{who}", {name(rng).lower()}={number})'))
    found = answers(measure_dataset(write(tmp_path, pairs), None))
    assert (found["closed_output"], found["output_strictness"]) == (True, "high")
    assert (found["facts_in_request"], found["external_facts"]) == ("yes", "none")


def test_answers_that_end_in_a_line_of_a_fixed_form(tmp_path):
    rng = random.Random(18)
    pairs = [(f"{n}: {prose(rng, 30)}", f"{prose(rng, 40)}\n#### {n * 7}") for n in range(50)]
    found = answers(measure_dataset(write(tmp_path, pairs), None))
    assert (found["closed_output"], found["output_strictness"]) == (False, "high")


@pytest.mark.parametrize(("one", "other"), [
    ("1,577.00", "$1577"), ("Pumps", "the pump's"), ("TB-31", "tb 31"), ("glass", "Glass")])
def test_the_same_written_differently(one, other):
    assert set(tokens(one)) <= set(tokens(other))


def test_yes_and_no_may_answer_questions(tmp_path):
    rng = random.Random(11)
    pairs = [(f"Has the {name(rng)} a lid?", rng.choice(["Yes.", "No."])) for _ in range(60)]
    found = answers(measure_dataset(write(tmp_path, pairs), None))
    assert found["closed_output"] is True
    assert (found["task"], found["facts_in_request"], found["external_facts"]) == (None,) * 3


def test_not_knowing_is_no_label(tmp_path):
    texts, pairs = manuals(random.Random(4))
    pairs += [(f"What does {name(random.Random(n))} cost?", "I do not know.")
              for n in range(40)]
    assert read_forms([Pair(*pair) for pair in pairs]).counts["abstention"] == 40
    found = answers(measure_dataset(write(tmp_path, pairs), corpus(texts)))
    assert (found["closed_output"], found["external_facts"]) == (None, "essential")


def test_tasks_mixed_have_no_common_form(tmp_path):
    rng = random.Random(12)
    found = answers(measure_dataset(
        write(tmp_path, [*labelled(rng, 50), *restyled(rng, 50)]), None))
    assert (found["closed_output"], found["task"]) == (None, None)


def test_few_different_short_answers_may_be_a_large_label_set(tmp_path):
    rng = random.Random(13)
    pairs = [(f"{n}: {prose(rng, 12)}", f"card {name(rng)}") for n in range(30)]
    assert answers(measure_dataset(write(tmp_path, pairs), None))["closed_output"] is None


def test_other_scripts_crash_nothing(tmp_path):
    pairs = [(f"フェリーの番号{n}は何ですか。", f"それは{n}番のフェリーです。") for n in range(30)]
    pairs += [(f"Wie schwer ist Nr. {n}?", f"Gewicht: {n} t 🎈") for n in range(30)]
    pairs += [(f"{n}?", "!!! …") for n in range(5)]
    pairs += [("\ud800 \x00", "\udfff"), ("???", "!"), ("deep", "[" * 700 + "1" + "]" * 700),
              ("number", "1." * 500), ("word", "a" * 100_000)]
    found = answers(measure_dataset(write(tmp_path, pairs), corpus({"a": "フェリー", "b": "…"})))
    assert found["training_examples"] == 69  # half a character is no text: left out, and named


# --- quality ------------------------------------------------------------------------------


def test_contradictions_make_the_quality_low(tmp_path):
    _, pairs = manuals(random.Random(4), count=100)
    rng = random.Random(14)
    noisy = [*pairs, *((question.upper(), f"{rng.randrange(10)} {name(rng)}")
                       for question, _ in pairs[:30])]
    findings = measure_dataset(write(tmp_path, noisy), None)
    assert answers(findings)["dataset_quality"] == "low"
    assert "60 contradict another" in how(findings, "dataset_quality")
    slightly = [*pairs, (pairs[0][0], "none at all"), (pairs[1][0], "7 of them")]
    assert answers(measure_dataset(write(tmp_path, slightly), None))[
        "dataset_quality"] == "medium"
    assert answers(measure_dataset(write(tmp_path, pairs), None))["dataset_quality"] is None


def test_copies_do_not_hide_faults(tmp_path):
    _, pairs = manuals(random.Random(4), count=19)
    noisy = [*pairs, (pairs[0][0], "7 of them")]
    assert answers(measure_dataset(write(tmp_path, noisy), None))["dataset_quality"] == "low"
    copied = [*noisy, *pairs[5:15]]
    assert answers(measure_dataset(write(tmp_path, copied), None))["dataset_quality"] == "low"


@pytest.mark.parametrize(("one", "other", "expected"), [
    ("5 bar", "6 bar", True), ("5 bar.", "5 Bar", False), ("the red door", "a blue lid", True),
    (prose(random.Random(1), 40), prose(random.Random(2), 40), False),
    (prose(random.Random(1), 40) + " 5", prose(random.Random(1), 40) + " 6", True),
])
def test_what_contradicts(one, other, expected):
    pairs = [Pair("How much?", one), Pair("how  much", other), Pair("And then?", other)]
    assert [other is not None for other in contradictions(pairs)] == [expected, expected, False]


def test_what_breaks_off():
    whole = [Pair(f"q{n}", prose(random.Random(n), 20)) for n in range(10)]
    short = [Pair("q", "5 bar"), Pair("q", "Use this:\n\n```\nrun\n```")]
    broken = [Pair("q", prose(random.Random(20), 20).rstrip(".") + " and the")]
    assert cut_off([*whole, *short, *broken]) == [False] * 12 + [True]
    never = [Pair(pair.request, pair.answer.rstrip(".")) for pair in whole]
    assert not any(cut_off(never))  # a habit, no fault
    rows = ["1. Take the red one\n2. Take " + "the blue one " * 5, "if a:\n    return " + "a " * 15]
    assert not any(cut_off([*whole, *(Pair("q", row) for row in rows)]))
    data = [Pair(f"q{n}", json.dumps({"a": n})) for n in range(5)]
    assert cut_off([*data, Pair("q", '{"a": [1, 2')]) == [False] * 5 + [True]


def test_near_copies_say_the_same_with_little_changed():
    rng = random.Random(15)
    pairs = [Pair(prose(rng, 40), prose(rng, 20)) for _ in range(20)]
    assert not copied(pairs)
    again = [Pair(pair.request.replace(".", " now."), pair.answer) for pair in pairs]
    assert copied([*pairs, *again]) == 20
    other = [Pair(pair.request, prose(rng, 20)) for pair in pairs]
    assert not copied([*pairs, *other])


def test_templates_with_other_values_are_no_copies():
    text = "How many people may the ferry {} carry on a day with a wind of strength {} or more?"
    pairs = [Pair(text.format(name(random.Random(n)), n), str(n * 3)) for n in range(30)]
    assert not copied(pairs)


def test_copies_and_bad_lines_are_counted_and_shown(tmp_path):
    path = write(tmp_path, labelled(random.Random(1), 80) * 2)
    with path.open("a") as file:
        file.write('{"question": "What?", "answer": ""}\n{"question": "Half\n')
    findings = measure_dataset(path, None)
    found = answers(findings)
    assert (found["training_examples"], found["dataset_quality"]) == (80, "medium")
    said = how(findings, "training_examples")
    assert "80 of them exact copies" in said
    assert "2 more cannot be used" in said
    assert f"{path}:161" in said
    dataset = read_dataset(path)
    assert len(dataset.failures) == 2
    assert find_faults(dataset).unusable == 2


def test_too_few_examples_say_only_how_many_they_are(tmp_path):
    found = answers(measure_dataset(write(tmp_path, labelled(random.Random(1), 5)), None))
    assert found.pop("training_examples") == 5
    assert set(found.values()) == {None}


def test_no_file_is_a_line_with_a_mend(tmp_path):
    with pytest.raises(DataError) as caught:
        measure_dataset(tmp_path / "absent.jsonl", None)
    assert "\n" not in str(caught.value)


def test_a_chain_of_near_copies_is_counted_alike_in_any_order(tmp_path):
    chain = [row for row in ROWS if row[1] == "so"]
    counts = {find_faults(read_dataset(write(tmp_path, rows))).near_copies
              for rows in permutations(chain)}
    assert len(counts) == 1
    pairs = [Pair(*row) for row in chain]
    assert copied(pairs) != copied([pairs[1], pairs[0], pairs[2]])


# --- properties ---------------------------------------------------------------------------

CHAIN = names(random.Random(21), 40)  # each is like the one before, the third unlike the first
TEXTS = manuals(random.Random(4), 30)[0]
ROWS = [*manuals(random.Random(4), 30)[1], *labelled(random.Random(5), 15),
        *restyled(random.Random(6), 5), *extracted(random.Random(7), 5),
        *((" ".join(words), "so") for words in (CHAIN, [*CHAIN[:9], "x", *CHAIN[10:]], [
            *CHAIN[:9], "x", *CHAIN[10:29], "y", *CHAIN[30:]])),
        ("Same?", "one thing"), ("same", "another matter"), ("Unknown?", "I do not know.")]


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.sampled_from(ROWS), min_size=1, max_size=80), rng=st.randoms())
def test_the_order_of_the_lines_changes_nothing(tmp_path_factory, rows, rng):
    folder = tmp_path_factory.mktemp("shuffled")
    before = measure_dataset(write(folder, rows), corpus(TEXTS))
    shuffled = list(rows)
    rng.shuffle(shuffled)
    assert measure_dataset(write(folder, shuffled), corpus(TEXTS)) == before


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.sampled_from(ROWS), min_size=1, max_size=60), data=st.data())
def test_copies_are_no_more_examples(tmp_path_factory, rows, data):
    folder = tmp_path_factory.mktemp("copied")
    before = answers(measure_dataset(write(folder, rows), corpus(TEXTS)))
    more = data.draw(st.lists(st.sampled_from(rows), max_size=40))
    after = answers(measure_dataset(write(folder, [*rows, *more]), corpus(TEXTS)))
    grades = [None, "medium", "low"]
    then, now = (found.pop("dataset_quality") for found in (before, after))
    assert after == before
    if len(rows) >= 10:
        assert grades.index(now) >= grades.index(then)


# --- the sample, and size -----------------------------------------------------------------


def test_the_sample():
    findings = measure_dataset(SAMPLE / "train.jsonl", read_corpus([str(SAMPLE / "documents")]))
    found = answers(findings)
    assert found == {
        "training_examples": 345, "dataset_quality": None, "closed_output": None,
        "output_strictness": "medium", "task": None, "facts_in_request": "partly",
        "external_facts": "essential", "multi_document": True}


def test_the_sample_is_not_found_in_other_documents():
    texts, _ = manuals(random.Random(4), 200)
    findings = measure_dataset(SAMPLE / "train.jsonl", corpus(texts))
    assert answers(findings)["external_facts"] is None


def test_finding_is_by_the_rarest_words_and_ends():
    rng = random.Random(16)
    texts = {f"{n}.md": prose(rng, 150) for n in range(300)}
    texts["gru\u0308n.md"] = prose(rng, 150) + " Zuvika"  # as a Mac names it
    passages = Passages(corpus(texts))
    assert passages.document[passages.find({"zuvika", *PLAIN})[0]] == 300
    assert passages.of_source("./gr\u00fcn.md") == [at for at, d in enumerate(passages.document)
                                             if d == 300]
    assert passages.of_source("nowhere.md") == []
