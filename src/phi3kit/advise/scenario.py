"""The questions that `advise` asks, and reading their answers from a file or a flag."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from phi3kit.errors import DataError
from phi3kit.parsing import refuse_deep_yaml

Kind = Literal["choice", "boolean", "integer", "number"]
_UNKNOWN = frozenset({"", "null", "unknown", "none given", "~", "?"})
_TRUE = frozenset({"true", "yes", "y", "on"})
_FALSE = frozenset({"false", "no", "n", "off"})
# What is written between thousands. A comma elsewhere is a decimal one in much of the world, and
# so is a point before three digits: what was meant is asked, not guessed.
_GROUPED = re.compile(r"\d{1,3}([,_]\d{3})+(\.\d+)?")
_POINTED = re.compile(r"\d{1,3}(\.\d{3})+")


@dataclass(frozen=True, slots=True)
class Field:
    """A question of the questionnaire.

    Attributes:
        name: the field's name in a scenario file.
        question: what is asked.
        help: what the answer means and what it decides.
        example: one answer with the situation that it fits.
        kind: choice (one of `values`), boolean, integer or number.
        values: the answers of a choice, in their order; empty for the other kinds.
        probes: answers of a number that stand for its range when alternatives are tried.
        zero: whether 0 is an answer to a "number".
    """

    name: str
    question: str
    help: str
    example: str
    kind: Kind = "choice"
    values: tuple[str, ...] = ()
    probes: tuple[float, ...] = ()
    zero: bool = False

    @property
    def alternatives(self) -> tuple[Any, ...]:
        """Answers that stand for all answers, in the field's order."""
        return (False, True) if self.kind == "boolean" else self.values or self.probes

    @property
    def allowed(self) -> str:
        """The allowed answers in words."""
        return {"choice": ", ".join(self.values), "boolean": "true, false (yes, no)",
                "integer": "a whole number, 0 or more",
                "number": "a number, 0 or more" if self.zero else "a number above 0"}[self.kind]


FIELDS: tuple[Field, ...] = (
    Field("task", "What is the model to do?",
          "Answering from knowledge and learning a form are different problems.",
          "qa: staff ask about the service manuals",
          values=("qa", "generation", "classification", "extraction", "code", "workflow",
                  "style", "translation")),
    Field("external_facts", "Do answers need facts that are neither in the request nor widely "
          "known?",
          "Your own documents, prices, cases, people, events after the model's training.",
          "essential: every answer quotes the company's handbook",
          values=("none", "some", "essential")),
    Field("facts_in_request", "Does the request itself bring the facts that are needed?",
          "A text to label, a schema to query, a mail to answer.",
          "yes: the ticket that is to be labelled is in the prompt",
          values=("yes", "partly", "no")),
    Field("facts_change", "How often do those facts change?",
          "A tuned model must be trained again; an index is updated in minutes.",
          "monthly: a price list comes out each month",
          values=("static", "yearly", "monthly", "weekly", "daily")),
    Field("fact_popularity", "How well known are the facts in public text?",
          "head: everybody writes about them; long_tail: hardly anybody does.",
          "long_tail: part numbers of one manufacturer",
          values=("head", "mixed", "long_tail")),
    Field("citations", "Must an answer show its source?",
          "required: without a source the answer is worth nothing.",
          "required: an auditor checks the answers",
          values=("no", "nice", "required")),
    Field("vocabulary", "How specialised are the terms and expressions?",
          "high: an educated outsider would not understand a page of it.",
          "high: lock-keeping, hepatology, 3GPP standards",
          values=("low", "medium", "high")),
    Field("output_strictness", "How strict is the form of the answer?",
          "Format, label set, schema, house style.",
          "high: JSON that a program reads; low: any good prose",
          values=("low", "medium", "high")),
    Field("closed_output", "Does the answer come from a fixed set or grammar?",
          "Labels, codes, functions, a query language.",
          "yes: one of 40 ticket categories", kind="boolean"),
    Field("training_examples", "How many examples (request and good answer) do you have?",
          "Count those that you have or could surely make; 0 is an answer too.",
          "350", kind="integer", probes=(0, 20, 100, 500, 3000, 30000)),
    Field("dataset_quality", "How good are those examples?",
          "high: written or checked by people who know; low: scraped, noisy, inconsistent.",
          "high: answers that senior support staff sent",
          values=("low", "medium", "high")),
    Field("corpus_tokens", "How long are all documents together, in tokens?",
          "A page has about 500 tokens. What fits into the prompt need not be searched.",
          "200000: a manual of 400 pages", kind="integer",
          probes=(10_000, 300_000, 100_000_000)),
    Field("documents_searchable", "How hard is it to find the right passage by searching?",
          "hard: near-identical documents, tables, scans, jargon that questions do not use.",
          "easy: one article per topic, with telling titles",
          values=("easy", "mixed", "hard")),
    Field("multi_document", "Must an answer join facts from several documents?",
          "Comparisons, sums over reports, steps from one text and limits from another.",
          "yes: compare this year's filing with last year's", kind="boolean"),
    Field("automated_workflow", "Does a program, not a person, use the answer?",
          "Routing, form filling, function calls, pipelines.",
          "yes: the label moves the ticket to a queue", kind="boolean"),
    Field("latency_sensitive", "Do answers have to come very fast or very cheaply?",
          "Passages make prompts long; a small tuned model needs none.",
          "yes: half a second on a phone", kind="boolean"),
    Field("model_size_b", "How large is the base model, in billions of parameters?",
          "Small models gain most from tuning, large ones least.",
          "3.8 for Phi-3-mini", kind="number", probes=(1.5, 3.8, 7, 14, 70, 200)),
    Field("gpu_memory_gb", "How much memory has the GPU to train on, in GB?",
          "It decides between LoRA and QLoRA.",
          "24, or 0 without a GPU", kind="number", zero=True, probes=(0, 8, 16, 24, 80)),
)
BY_NAME: dict[str, Field] = {field.name: field for field in FIELDS}


def read_scenario(path: Path) -> dict[str, Any]:
    """The answers in a YAML or JSON file: field to value, None where the answer is unknown.

    Raises:
        DataError: the file cannot be read, or holds an unknown field or value; names the
            line, the field and the nearest valid one.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError("not UTF-8", where=str(path), mend="Save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=str(path),
                        mend="Run `phi3kit advise` without a file to be asked") from error
    try:
        refuse_deep_yaml(text)
        node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise DataError(f"not valid YAML ({getattr(error, 'problem', None) or 'syntax'})",
                        where=f"{path}:{mark.line + 1}" if mark else str(path),
                        mend="Write one 'field: value' per line") from error
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise DataError("expected 'field: value' lines", where=str(path))
    answers: dict[str, Any] = {}
    for key, value in node.value:
        where = f"{path}:{key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode):
            raise DataError("a field's name is one word", where=where)
        name = str(key.value)
        if name in answers:
            raise DataError(f"the field '{name}' stands twice", where=where)
        if name in BY_NAME and not isinstance(value, yaml.ScalarNode):
            raise DataError(f"'{name}' takes one value: {BY_NAME[name].allowed}", where=where)
        # The node's own text, so that YAML's reading of yes and no does not matter.
        answers[name] = read_answer(name, str(value.value), where=where)
    return answers


def read_set(pairs: list[str] | tuple[str, ...], *, flag: str = "--set") -> dict[str, Any]:
    """Answers given as "field=value" on the command line.

    Raises:
        DataError: no "=", or an unknown field or value.
    """
    answers: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise DataError(f"'{pair}' is not field=value", where=flag,
                            mend=f"Write for example {flag} citations=required")
        answers[name.strip()] = read_answer(name.strip(), value, where=flag)
    return answers


def read_answer(name: str, text: str, *, where: str) -> Any:
    """The typed value that `text` stands for; None when it says unknown.

    Raises:
        DataError: no such field, or a value that it does not allow.
    """
    field = BY_NAME.get(name)
    if field is None:
        near = difflib.get_close_matches(name, BY_NAME, n=1, cutoff=0.5)
        raise DataError(f"unknown field '{name}'", where=where,
                        mend=f"Did you mean '{near[0]}'?" if near else
                        f"The fields are {', '.join(BY_NAME)}")
    plain = " ".join(text.split())
    if plain.casefold() in _UNKNOWN:
        return None
    if field.kind == "choice":
        return _choice(field, plain, where)
    if field.kind == "boolean":
        return _boolean(field, plain, where)
    return _number(field, plain, where)


def check_answers(answers: Mapping[str, Any]) -> dict[str, Any]:
    """`answers` from a caller, brought to their types; unknown ones dropped.

    Raises:
        DataError: an unknown field or value.
    """
    checked: dict[str, Any] = {}
    for name, value in answers.items():
        if isinstance(value, bool):
            value = "true" if value else "false"
        read = read_answer(name, "" if value is None else str(value), where="scenario")
        if read is not None:
            checked[name] = read
    return checked


def word(value: Any) -> str:
    """An answer as it is written in a scenario file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    return "unknown" if value is None else str(value)


def _choice(field: Field, text: str, where: str) -> str:
    value = text.casefold().replace("-", "_").replace(" ", "_")
    if value in field.values:
        return value
    # A program's YAML or JSON may hold the words yes and no as booleans.
    for words, word in ((_TRUE, "yes"), (_FALSE, "no")):
        if value in words and word in field.values:
            return word
    near = difflib.get_close_matches(value, field.values, n=1, cutoff=0.5)
    raise DataError(f"'{text}' is no value of '{field.name}'", where=where,
                    mend=f"Did you mean '{near[0]}'? Allowed: {field.allowed}" if near else
                    f"Allowed: {field.allowed}")


def _boolean(field: Field, text: str, where: str) -> bool:
    value = text.casefold()
    if value not in _TRUE | _FALSE:
        raise DataError(f"'{text}' is no value of '{field.name}'", where=where,
                        mend=f"Allowed: {field.allowed}")
    return value in _TRUE


def _number(field: Field, text: str, where: str) -> float | int:
    wrong = DataError(f"'{text}' is no value of '{field.name}'", where=where,
                      mend=_plainly(field, text))
    whole = field.kind == "integer"
    if whole and _POINTED.fullmatch(text):
        raise wrong
    plain = re.sub("[,_]", "", text) if _GROUPED.fullmatch(text) else text
    if "," in plain or "_" in plain:
        raise wrong
    try:
        value = float(plain)
    except ValueError:
        raise wrong from None
    if not math.isfinite(value) or value < 0:
        raise wrong
    if whole:
        if value != int(value):
            raise wrong
        return int(value)
    if value == 0 and not field.zero:
        raise wrong
    return value


def _plainly(field: Field, text: str) -> str:
    """The number that was probably meant, as it is to be written; else what is allowed."""
    if field.kind == "integer" and _POINTED.fullmatch(text):
        return f"Write {text.replace('.', '')}"
    if field.kind == "number" and re.fullmatch(r"\d+,\d+", text):
        return f"Write {text.replace(',', '.')}"
    return f"Allowed: {field.allowed}"
