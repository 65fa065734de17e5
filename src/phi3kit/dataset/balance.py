"""How often each label is given, where the answers are labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from phi3kit.dataset.examples import Example
from phi3kit.dataset.forms import read_forms
from phi3kit.dataset.normal import normal
from phi3kit.dataset.pairs import as_pair
from phi3kit.records import LabelCounts


def label_balance(examples: Sequence[Example]) -> tuple[LabelCounts, ...]:
    """The labels of each kind of example that has any, by kind.

    What a label is, `forms.read_forms` says: a short answer that several requests share.
    Labels are the same but for case and punctuation; the first spelling names them.
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for example, label in zip(examples, labels(examples), strict=True):
        if label:
            counts[example.kind][label] += 1
    return tuple(
        LabelCounts(kind, dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))))
        for kind, found in sorted(counts.items()) if len(found) > 1)


def labels(examples: Sequence[Example]) -> list[str]:
    """The label that each example answers with; "" where its answer is none."""
    pairs = [as_pair(example) for example in examples]
    spelled: dict[str, str] = {}
    return [spelled.setdefault(normal(pair.answer), pair.answer) if form.name == "label" else ""
            for pair, form in zip(pairs, read_forms(pairs).of, strict=True)]
