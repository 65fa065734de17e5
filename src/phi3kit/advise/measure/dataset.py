"""Every answer that the training examples give."""

from __future__ import annotations

from pathlib import Path

from phi3kit.advise.measure.corpus import Corpus
from phi3kit.advise.measure.facts import measure_facts
from phi3kit.advise.measure.findings import Findings
from phi3kit.advise.measure.labels import closed_output, output_strictness, task
from phi3kit.advise.measure.quality import dataset_quality, training_examples
from phi3kit.dataset.forms import read_forms
from phi3kit.dataset.pairs import Dataset, read_dataset


def measure_dataset(path: Path, corpus: Corpus | None = None) -> Findings:
    """What the examples in `path` say, by themselves and against the documents.

    Answers `training_examples`, `dataset_quality`, `closed_output`, `output_strictness`,
    `task`, `facts_in_request`, `external_facts` and `multi_document`; each is among the
    measured or, with the reason, among the unmeasured ones. The order of the lines does
    not matter.

    Raises:
        DataError: the file is missing or holds no examples in a known format.
    """
    return measure_examples(read_dataset(path), corpus)


def measure_examples(dataset: Dataset, corpus: Corpus | None = None) -> Findings:
    """The same for examples that are already read; their `failures` are for the caller."""
    forms = read_forms(dataset.pairs)
    return (training_examples(dataset) + dataset_quality(dataset) + closed_output(forms)
            + output_strictness(forms) + task(forms) + measure_facts(forms, corpus))
