"""The advice: monotone where it must be, an answer to every partial scenario, honest doubt."""

from __future__ import annotations

import dataclasses
import math
import shlex
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.main import get_command

from phi3kit.advise.at_hand import AtHand
from phi3kit.advise.rules import (
    MONOTONE,
    Condition,
    Confidence,
    Grade,
    Rule,
    load_rules,
    monotone_problems,
)
from phi3kit.advise.scenario import BY_NAME, FIELDS
from phi3kit.advise.score import advise, best, score
from phi3kit.cli.app import app
from phi3kit.errors import DataError
from phi3kit.plan.shapes import shape_of
from phi3kit.records import OPTIONS, Measured
from phi3kit.settings import (
    CompareSettings,
    FinetuneSettings,
    IngestSettings,
    ModelSettings,
    Settings,
)


def answer(field):
    if field.kind == "integer":
        return st.integers(0, 10**9)
    if field.kind == "number":
        return st.floats(0.01, 2000, allow_nan=False)
    return st.sampled_from(field.alternatives)


SCENARIOS = st.fixed_dictionaries({}, optional={f.name: answer(f) for f in FIELDS})
RULES = load_rules()
# Sure of everything: for tests that are about what follows from a decided advice.
SURE = dataclasses.replace(RULES, confidence=Confidence(intercept=5, slope=1, decided_from=0.5))
COMMANDS = get_command(app).commands


@settings(max_examples=60, deadline=None)
@given(SCENARIOS)
def test_every_partial_scenario_is_answered(answers) -> None:
    advice = advise(answers)
    assert advice.recommendation in OPTIONS
    assert set(advice.scores) == set(OPTIONS)
    assert math.isclose(sum(advice.scores.values()), 1, abs_tol=1e-5)
    assert all(0 <= share <= 1 for share in advice.scores.values())
    assert 0 <= advice.confidence <= 1
    assert {m.field for m in advice.missing} == {f.name for f in FIELDS} - set(answers)
    weights = [m.weight for m in advice.missing]
    assert weights == sorted(weights, reverse=True)
    assert advice.next
    assert (advice.method is None) == (advice.recommendation in ("base", "rag"))
    assert advice.basis == "argued"
    assert (advice.settle is None) == advice.decided
    if advice.settle is not None:
        assert advice.settle.arms[0] == advice.recommendation
        assert len(advice.settle.arms) >= 2
        assert advice.next[-1] == advice.settle.command
    asked_about = {advice.recommendation} if advice.settle is None else set(advice.settle.arms)
    assert {cost.option for cost in advice.costs} <= asked_about
    assert all(0 <= cost.low <= cost.expected <= cost.high for cost in advice.costs)


@settings(max_examples=300, deadline=None)
@given(SCENARIOS, st.sampled_from(sorted(MONOTONE)), st.data())
def test_monotone(answers, name, data) -> None:
    pair = MONOTONE[name]
    field = BY_NAME[name]
    values = sorted(data.draw(st.lists(answer(field), min_size=2, max_size=2)),
                    key=field.values.index if field.values else None)
    before, after = (score(RULES, {**answers, name: value}) for value in values)
    assert sum(after[o] for o in pair) >= sum(before[o] for o in pair) - 1e-12
    assert not (best(before) in pair and best(after) not in pair)


@settings(max_examples=100, deadline=None)
@given(SCENARIOS, st.lists(st.floats(0, 5), min_size=len(RULES.rules), max_size=len(RULES.rules)),
       st.sampled_from(sorted(MONOTONE)))
def test_monotone_under_any_weights(answers, weights, name) -> None:
    rules = dataclasses.replace(RULES, rules=tuple(
        dataclasses.replace(rule, weight=w) for rule, w in zip(RULES, weights, strict=True)))
    masses = []
    for value in BY_NAME[name].alternatives:
        scores = score(rules, {**answers, name: value})
        masses.append(sum(scores[o] for o in MONOTONE[name]))
    assert all(b >= a - 1e-12 for a, b in pairwise(masses))


def test_a_rule_that_turns_an_answer_around_is_refused() -> None:
    wrong = Rule("wrong", "", "", 1.0, (
        Grade((Condition("citations", frozenset(["required"])),), (0.0, -1.0, 0.0, -1.0)),), (), ())
    assert "away from rag and both" in monotone_problems(wrong)[0]


@settings(max_examples=40, deadline=None)
@given(SCENARIOS)
def test_every_reversal_reverses(answers) -> None:
    advice = advise(answers)
    for reversal in advice.reverse_when:
        changed = dict(answers)
        for change in reversal.changes:
            name, _, rest = change.partition(": ")
            changed[name] = rest.split(" -> ")[1]
        assert advise(changed).recommendation == reversal.recommendation
        assert reversal.recommendation != advice.recommendation


def test_contradiction_is_named_and_undecided() -> None:
    advice = advise({"facts_in_request": "yes", "external_facts": "essential", "task": "qa",
                     "citations": "required", "facts_change": "daily", "training_examples": 0})
    assert not advice.decided
    assert "facts_in_request = yes and external_facts = essential" in advice.contradictions[0]
    assert any("compare" in command for command in advice.next)


def test_nothing_answered_is_undecided() -> None:
    advice = advise({})
    assert not advice.decided
    assert advice.reasons == ()
    assert advice.missing[0].weight > 0


def test_reasons_name_rule_answers_and_evidence() -> None:
    advice = advise({"task": "qa", "external_facts": "essential", "citations": "required",
                     "facts_change": "weekly", "training_examples": 0})
    assert (advice.recommendation, advice.decided) == ("rag", True)
    reason = next(r for r in advice.reasons if r.rule == "show-the-source")
    assert reason.because == ("citations = required",)
    assert reason.effects["rag"] == reason.effects["both"] > 0
    assert any(line.startswith("for: ") for line in reason.evidence)


@pytest.mark.parametrize(("size", "memory", "method"), [
    (3.8, 80, "lora"), (3.8, 8, "qlora"), (70, 24, "qlora"), (0.135, 8, "lora"),
    (14, None, "lora"), (None, 24, "lora"), (None, None, "lora")])
def test_method(size, memory, method) -> None:
    answers = {"task": "classification", "external_facts": "none", "facts_in_request": "yes",
               "output_strictness": "high", "closed_output": True, "training_examples": 2000,
               "model_size_b": size, "gpu_memory_gb": memory}
    advice = advise(answers)
    if advice.recommendation in ("finetune", "both"):
        assert advice.method == method
        assert advice.method_why
        assert any("finetune" in c and ("--qlora" in c) == (method == "qlora")
                   for c in advice.next)
    else:
        assert size == 70


def test_every_field_moves_something() -> None:
    """A question that nothing reads would be asked in vain."""
    read = {test.field for rule in RULES for grade in rule.grades for test in grade.tests}
    assert read | {"gpu_memory_gb"} == {f.name for f in FIELDS}


def test_unknown_value_in_answers() -> None:
    with pytest.raises(DataError, match="Did you mean 'weekly'"):
        advise({"facts_change": "weakly"})


BOTH = {"task": "qa", "external_facts": "essential", "fact_popularity": "long_tail",
        "training_examples": 5000, "dataset_quality": "high", "model_size_b": 1.5,
        "multi_document": True, "output_strictness": "high", "gpu_memory_gb": 24,
        "facts_in_request": "partly", "vocabulary": "high"}


def test_commands_carry_every_name_that_is_known() -> None:
    advice = advise(BOTH, SURE, at_hand=AtHand(corpus=("docs", "more docs"), dataset="x y.jsonl"))
    assert (advice.recommendation, advice.decided) == ("both", True)
    assert advice.next == (
        "phi3kit ingest docs 'more docs'",
        "phi3kit plan --model 1.5B --method lora --gpu-memory 24",
        # Tuned with passages: tuned without any, a model often reads them worse.
        "phi3kit finetune --dataset 'x y.jsonl' --model YOUR_1.5B_MODEL --passages 0.5",
        "phi3kit compare --questions YOUR_QUESTIONS.jsonl --adapter RUN_OF_FINETUNE "
        "--model YOUR_1.5B_MODEL")


@pytest.mark.parametrize(("model", "size", "project", "named"), [
    ("", 7, "smollm2-135m", "YOUR_7B_MODEL"),  # the packaged model would mark that of 7B
    ("7B", 7, "smollm2-135m", "YOUR_7B_MODEL"), ("7B", 7, "7B", "YOUR_7B_MODEL"),
    ("phi-3-small", 7.39, "smollm2-135m", "YOUR_7.39B_MODEL"),
    ("phi-3-mini", 3.82, "smollm2-135m", "phi-3-mini"),
    ("", 0.135, "smollm2-135m", ""), ("", 3.82, "phi-3-mini", ""),
    ("", None, "smollm2-135m", ""), ("", 7, "some/model-not-here", "")])
def test_commands_load_the_model_that_was_advised_for(model, size, project, named) -> None:
    at_hand = AtHand(Settings(model=ModelSettings(name=project)), model=model,
                     shape=shape_of(model) if model else None)
    loading = [command for command in advise({**BOTH, "model_size_b": size}, SURE,
                                             at_hand=at_hand).next
               if command.startswith(("phi3kit finetune", "phi3kit compare"))]
    assert len(loading) == 2
    for command in loading:
        assert command.partition("--model ")[2].partition(" ")[0] == named


def test_commands_leave_out_what_the_project_file_says() -> None:
    project = Settings(
        ingest=IngestSettings(corpus=("docs",)), compare=CompareSettings(questions="q.jsonl"),
        finetune=FinetuneSettings(dataset="x.jsonl", passages=0.3, qlora=True))
    assert advise(BOTH, SURE, at_hand=AtHand(project)).next == (
        "phi3kit ingest", "phi3kit plan --model 1.5B --method lora --gpu-memory 24",
        "phi3kit finetune --model YOUR_1.5B_MODEL --no-qlora",
        "phi3kit compare --adapter RUN_OF_FINETUNE --model YOUR_1.5B_MODEL")


@settings(max_examples=60, deadline=None)
@given(SCENARIOS, st.sampled_from(["", "phi-3-mini"]), st.sampled_from(["", "my examples.jsonl"]))
def test_every_command_is_one_that_phi3kit_takes(answers, model, dataset) -> None:
    shape = shape_of(model) if model else None
    if shape is not None:
        answers = {**answers, "model_size_b": shape.parameters / 1e9}
    advice = advise(answers, at_hand=AtHand(dataset=dataset, model=model, shape=shape))
    for command in advice.next:
        program, name, *args = shlex.split(command)
        assert program == "phi3kit"
        COMMANDS[name].make_context(name, args)  # parses, checks, and runs nothing


def test_only_what_is_needed_is_built() -> None:
    tune = {"task": "classification", "external_facts": "none", "facts_in_request": "yes",
            "closed_output": True, "output_strictness": "high", "training_examples": 5000}
    advice = advise(tune, SURE)
    assert advice.recommendation == "finetune"
    assert advice.next == (
        "phi3kit finetune --dataset YOUR_EXAMPLES.jsonl",
        "phi3kit compare --questions YOUR_QUESTIONS.jsonl --arms base,finetune "
        "--adapter RUN_OF_FINETUNE")


def test_measured_answers_are_kept_for_the_record() -> None:
    item = Measured("training_examples", 5000, "counted", given=None)
    assert advise(BOTH, SURE, measured=[item]).measured == (item,)
