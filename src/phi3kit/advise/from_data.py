"""Answers from the user's data and model, beside those that the user gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from phi3kit.advise.at_hand import AtHand
from phi3kit.plan.shapes import shape_of
from phi3kit.records import Failure, Measured
from phi3kit.settings import Settings


@dataclass(frozen=True, slots=True)
class FromData:
    """What was named, and what it says.

    Attributes:
        at_hand: the names, for commands and costs.
        measured: the answers that were found, in the order of finding.
        unmeasured: fields without an answer: `where` is the field, `why` the reason.
        failures: documents and lines that could not be read.
    """

    at_hand: AtHand
    measured: tuple[Measured, ...] = ()
    unmeasured: tuple[Failure, ...] = ()
    failures: tuple[Failure, ...] = ()

    def beside(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Measured, ...]]:
        """All answers, the user's before the measured ones, and the measured with the user's."""
        answers = {item.field: item.value for item in self.measured}
        return {**answers, **given}, tuple(
            replace(item, given=given.get(item.field)) for item in self.measured)


def from_data(settings: Settings, *, corpus: Sequence[str] = (), dataset: str = "",
              model: str = "") -> FromData:
    """Measure what was named; nothing else is read.

    Args:
        settings: the project's; where its collection lies is no part of a corpus.
        corpus: files and folders of documents.
        dataset: a file of examples, in a format that `finetune` takes.
        model: catalog name, folder, or size such as 7B.

    Raises:
        DataError: a dataset that cannot be read; not one readable document.
        ModelError: no such model.
    """
    shape = shape_of(model) if model else None
    at_hand = AtHand(settings, tuple(corpus), dataset, model=model, shape=shape)
    measured: list[Measured] = []
    if shape is not None:
        measured.append(Measured("model_size_b", float(f"{shape.parameters / 1e9:.3g}"),
                                 f"from the model's shape: {shape.parameters:,} weights"))
    if not corpus and not dataset:
        return FromData(at_hand, tuple(measured))
    from phi3kit.advise.measure.corpus import read_corpus
    from phi3kit.advise.measure.dataset import measure_examples
    from phi3kit.advise.measure.findings import Findings
    from phi3kit.advise.measure.measure import measure_corpus
    from phi3kit.dataset.pairs import read_dataset
    from phi3kit.dataset.size import mean_tokens

    # The examples first: a name that is wrong is said before the documents take their time.
    examples = read_dataset(Path(dataset)) if dataset else None
    documents = read_corpus(corpus, store=settings.ingest.store) if corpus else None
    findings = Findings(tuple(measured))
    failures: list[Failure] = []
    if documents is not None:
        failures += documents.failures
        asked = [(pair.request, pair.answer) for pair in examples.pairs] if examples else []
        findings += measure_corpus(documents, asked)
    if examples is not None:
        failures += examples.failures
        at_hand = replace(at_hand, example_tokens=mean_tokens(examples.examples, settings))
        findings += measure_examples(examples, documents)
    return FromData(at_hand, findings.measured, findings.unmeasured, tuple(failures))
