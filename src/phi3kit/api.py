"""The commands as Python calls: the same settings, the same records, no screen.

    from phi3kit import api

    mine = api.settings({"model.name": "phi-3-mini", "finetune.dataset": "train.jsonl"})
    audit = api.check_dataset(mine)
    run = api.finetune(mine)
    answers = api.ask(["How often is the seal checked?"],
                      api.settings({"ask.adapter": run.run}), rag=False)

Each call returns a frozen record of `phi3kit.records`, and raises a `phi3kit.errors.Phi3kitError`
with one line for what its caller can mend. Nothing heavy is imported before a call needs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phi3kit.records import (
    Advice,
    Answer,
    Comparison,
    DatasetCheck,
    ExportReport,
    IngestReport,
    Passage,
    Target,
    TrainReport,
)
from phi3kit.settings import Settings, load

__all__ = ["advise", "ask", "check_dataset", "compare", "export", "finetune", "ingest", "search",
           "settings"]


def settings(values: Mapping[str, Any] | None = None, *, folder: Path | None = None) -> Settings:
    """Defaults, then `<folder>/phi3kit.yaml`, then `values` by dotted key.

    Args:
        values: for example {"model.name": "phi-3-mini", "finetune.rank": 8}.
        folder: where phi3kit.yaml is looked for; None: the working folder.

    Raises:
        SettingsError: an unknown key, or a value of the wrong type or out of bounds.
    """
    return load(values, folder=folder).values


def advise(answers: Mapping[str, Any]) -> Advice:
    """What the rules recommend for a scenario; fields that are left out are unknown.

    Raises:
        DataError: an unknown field, or a value that it does not allow.
    """
    from phi3kit.advise.score import advise as work

    return work(answers)


def ingest(settings: Settings, paths: Sequence[str] = (), *, rebuild: bool = False) -> IngestReport:
    """Bring the collection up to date with `paths`, or with `ingest.corpus`.

    Files that cannot be read stand in the report's `failed`; the others are ingested.

    Raises:
        StoreError: the store cannot be written, or was built with something else.
        ModelError: the embedder cannot be loaded.
    """
    from phi3kit.ingest.reconcile import ingest as work

    return work(settings, paths, rebuild=rebuild)


def search(questions: Sequence[str], settings: Settings) -> list[tuple[Passage, ...]]:
    """The passages that each question would be answered from, best first.

    Raises:
        StoreError: there is no such collection, or it was built with another embedder.
    """
    from phi3kit.rag.retrieve import open_retriever

    return open_retriever(settings).retrieve(
        list(questions), settings.ask.passages, settings.ask.min_similarity)


def ask(questions: Sequence[str], settings: Settings, *, rag: bool = True) -> list[Answer]:
    """Answers with checked citations, in the order of the questions.

    Args:
        rag: False answers closed book; no collection is needed then.

    Raises:
        StoreError: the collection is missing, or was built with another embedder.
        ModelError: model or adapter cannot be found, loaded or combined.
    """
    from phi3kit.rag.assistant import open_assistant

    return open_assistant(settings, use_rag=rag).answer_all(
        list(questions), batch_tokens=settings.compare.batch_tokens)


def check_dataset(settings: Settings, *, base: bool = False) -> DatasetCheck:
    """Audit `finetune.dataset` against `compare.questions`; nothing is trained.

    Args:
        base: ask the model too which of the answers it gives already.

    Raises:
        DataError: the file cannot be read, or holds no examples in a known format.
    """
    from phi3kit.dataset.check import check

    return check(settings, base=base)


def finetune(settings: Settings, *, fresh: bool = False) -> TrainReport:
    """Train an adapter; an interrupted run goes on, a finished one is reused.

    Raises:
        DataError: the dataset cannot be read, or none of its examples can be used.
        ModelError: the base cannot be loaded or trained.
        RunError: the loss is not finite, or another process trains the same run.
    """
    from phi3kit.finetune.train import finetune as work

    return work(settings, fresh=fresh)


def compare(settings: Settings, *, fresh: bool = False) -> Comparison:
    """Every option on `compare.questions`, with a verdict that may be "not decidable".

    Raises:
        DataError: the questions cannot be read, or one stands among the training examples.
        RunError: the arms would not run under the same conditions.
    """
    from phi3kit.compare.run import compare as work

    return work(settings, fresh=fresh)


def export(run: str | Path, mine: Settings, *, to: Target = "merged", out: Path | None = None,
           examples: Path | None = None) -> ExportReport:
    """Write a trained model for other software, load it again and compare.

    Args:
        run: a finished run folder of `finetune`.
        to: "merged", "gguf", "ollama" or "vllm".
        out: the folder to write; None: `<run>/export/<to>`.
        examples: what its loss is measured on; None: the last ones that it was trained on.

    Raises:
        RunError: no such run, or the loss of the export is too much above the trained model's.
    """
    from phi3kit.export.run import export as room

    return room(mine, Path(run), to=to, out=out, examples=examples)
