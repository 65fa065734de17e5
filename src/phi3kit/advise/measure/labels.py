"""What the form of the answers says: a closed set or not, how strict, which task."""

from __future__ import annotations

from phi3kit.advise.measure.findings import Findings, found, nothing
from phi3kit.dataset.forms import Forms, leaves, shared_lengths
from phi3kit.dataset.normal import normal
from phi3kit.parsing import whole_json

LEAST = 10  # examples
PLAIN = 0.9  # of the answers: the rest are accidents
MOST = 0.8
FEW = 0.1
SOME = 0.3
_MANY = 100  # answers; among these a label set would repeat itself
_PROSE = 8  # words
_REGULAR = 0.8


def closed_output(forms: Forms) -> Findings:
    """`closed_output`: whether the answers come from a fixed set or a small grammar.

    True when 80% do (see `forms.read_forms`); false when at most 10% do and the others are
    prose (median of at least 8 words) or many (100). Between these the data hold several
    tasks, or too few answers to repeat themselves: no answer. Abstentions do not count.
    """
    answers = len(forms.spoken)
    if answers < LEAST:
        return nothing("closed_output", f"{answers} answers are too few to judge")
    closed = sum(form.closed for _, form in forms.spoken) / answers
    told = f"{closed:.0%} of the answers come from a fixed set or a small grammar: {forms.told}"
    if closed >= MOST:
        return found("closed_output", True, told)
    if closed <= FEW and (forms.words >= _PROSE or answers >= _MANY):
        return found("closed_output", False, told)
    why = "too few to tell" if closed <= FEW else "neither most nor almost none"
    return nothing("closed_output", f"{told}; that is {why}")


def output_strictness(forms: Forms) -> Findings:
    """`output_strictness`: how strict the form of the answers is.

    High when 80% of the answers have a form that a program could check (labels, JSON, calls,
    queries, codes, templates); medium when 30% have, or when 80% are short (at most 8 words)
    or of a regular length (half to twice the median); else low. Abstentions do not count.
    """
    answers = [pair for pair, _ in forms.spoken]
    if len(answers) < LEAST:
        return nothing("output_strictness", f"{len(answers)} answers are too few to judge")
    strict = sum(form.strict for _, form in forms.spoken) / len(answers)
    short = sum(len(pair.answer.split()) <= _PROSE for pair in answers) / len(answers)
    regular = shared_lengths(answers)
    told = (f"{strict:.0%} of the answers have a form that can be checked, {short:.0%} have at "
            f"most {_PROSE} words, {regular:.0%} are half to twice as long as the median of "
            f"{forms.words:g} words: {forms.told}")
    value = "low"
    if strict >= MOST:
        value = "high"
    elif strict >= SOME or short >= _REGULAR or regular >= _REGULAR:
        value = "medium"
    return found("output_strictness", value, told)


def task(forms: Forms) -> Findings:
    """`task`, where it is plain.

    Classification when 90% of the answers are labels, other than "yes" or "B", which
    answer questions too; extraction when 90% are JSON and 80% of their values
    stand in the request. Other tasks look alike in data.
    """
    answers = len(forms.spoken)
    if answers < LEAST:
        return nothing("task", f"{answers} answers are too few to judge")
    labels = sum(form.name == "label" and not form.bare for _, form in forms.spoken)
    if labels >= PLAIN * answers:
        return found("task", "classification",
                     f"{labels:,} of {answers:,} answers are one of {forms.labels} labels")
    structured = sum(form.name == "JSON" for _, form in forms.spoken)
    if structured >= PLAIN * answers:
        copied, values = _copied(forms)
        told = (f"{structured:,} of {answers:,} answers are JSON with the same keys, and "
                f"{copied:,} of {values:,} values stand in the request")
        if values and copied >= MOST * values:
            return found("task", "extraction", told)
        return nothing("task", told)
    return nothing("task", f"no task is plain from the answers' form: {forms.told}")


def _copied(forms: Forms) -> tuple[int, int]:
    """JSON values that stand in their request, and all of them."""
    copied = total = 0
    for pair, form in forms.spoken:
        if form.name == "JSON":
            request = _padded(pair.request)
            values = [_padded(leaf) for leaf in leaves(whole_json(pair.answer))]
            values = [value for value in values if value.strip()]
            copied += sum(value in request for value in values)
            total += len(values)
    return copied, total


def _padded(text: str) -> str:
    return f" {normal(text)} "
