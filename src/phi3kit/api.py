"""The commands as Python calls: the same settings, the same records, no screen.

    from phi3kit import api

    mine = api.settings({"model.name": "phi-3-mini", "finetune.dataset": "train.jsonl"})
    audit = api.check_dataset(mine)
    run = api.finetune(mine)
    answers = api.ask(["How often is the seal checked?"],
                      api.settings({"model.name": "phi-3-mini", "ask.adapter": run.run}), rag=False)

Each call returns a frozen record of `phi3kit.records`, and raises a `phi3kit.errors.Phi3kitError`
with one line for what its caller can mend. Nothing heavy is imported before a call needs it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3kit.errors import SettingsError
from phi3kit.records import (
    TARGETS,
    Advice,
    Answer,
    Comparison,
    DatasetCheck,
    DatasetSplit,
    ExportReport,
    IngestReport,
    Passage,
    RaftReport,
    SynthReport,
    Target,
    TrainingPlan,
    TrainReport,
)
from phi3kit.settings import Settings, load

if TYPE_CHECKING:
    from phi3kit.export.gguf_file import Weights
    from phi3kit.plan.step import Method

__all__ = ["advise", "ask", "check_dataset", "compare", "export", "finetune", "ingest",
           "plan", "raft_dataset", "search", "settings", "split_dataset", "synth_dataset"]


def settings(values: Mapping[str, Any] | None = None, *, folder: Path | None = None) -> Settings:
    """Defaults, then `<folder>/phi3kit.yaml`, then `values` by dotted key.

    Args:
        values: for example {"model.name": "phi-3-mini", "finetune.rank": 8}.
        folder: where phi3kit.yaml is looked for; None: the working folder.

    Raises:
        SettingsError: an unknown key, or a value of the wrong type or out of bounds.
    """
    return load(values, folder=folder).values


def _within(name: str, value: float, least: float, most: float = inf) -> None:
    """Refuse what the command line refuses.

    Raises:
        SettingsError: `value` is not from `least` to `most`.
    """
    if not least <= value <= most:
        raise SettingsError(f"{value} is out of bounds", where=name, mend=(
            f"Give {least} or more" if most == inf else f"Give a number from {least} to {most}"))


def _known(name: str, value: str, choices: Collection[str]) -> None:
    """Refuse a word that is none of `choices`, as the command line does.

    Raises:
        SettingsError: names the argument and what it takes.
    """
    if value not in choices:
        raise SettingsError(f"there is no {value!r}", where=name,
                            mend=f"Take one of {', '.join(choices)}")


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

    asked = _several(questions)
    return open_retriever(settings).retrieve(
        asked, settings.ask.passages, settings.ask.min_similarity)


def ask(questions: Sequence[str], settings: Settings, *, rag: bool = True) -> list[Answer]:
    """Answers with checked citations, in the order of the questions.

    Args:
        rag: False answers closed book; no collection is needed then.

    Raises:
        StoreError: the collection is missing, or was built with another embedder.
        ModelError: model or adapter cannot be found, loaded or combined.
    """
    from phi3kit.rag.assistant import open_assistant

    asked = _several(questions)
    return open_assistant(settings, use_rag=rag).answer_all(
        asked, batch_tokens=settings.compare.batch_tokens)


def check_dataset(settings: Settings, *, base: bool = False) -> DatasetCheck:
    """Audit `finetune.dataset` against `compare.questions`; nothing is trained.

    In its `preflight` stands what was seen of the model without its weights.

    Args:
        base: ask the model too which of the answers it gives already.

    Raises:
        DataError: the file cannot be read, or holds no examples in a known format.
    """
    from phi3kit.dataset.check import check

    return check(settings, base=base)


def split_dataset(settings: Settings, out: str | Path, *, share: float = 0.8,
                  force: bool = False) -> DatasetSplit:
    """Cut `finetune.dataset` into train.jsonl and held-out questions in the folder `out`.

    Args:
        share: of the examples to train on, 0.01 to 0.99.
        force: replace the files of an earlier split.

    Raises:
        SettingsError: no dataset is named, or `share` is out of its bounds.
        DataError: the file cannot be read or cut, or a file is there already.
    """
    from phi3kit.dataset.check import named_files
    from phi3kit.dataset.split import split

    _within("share", share, 0.01, 0.99)
    path, _ = named_files(settings)
    return split(path, Path(out), share=share, seed=settings.finetune.seed, force=force,
                 instruction=settings.ask.instruction)


def raft_dataset(settings: Settings, out: str | Path, *, without: float = 0.2,
                 force: bool = False) -> RaftReport:
    """Write `finetune.dataset` with retrieved passages, and answers that cite them, to `out`.

    Args:
        without: share of the examples whose right passage is left out, 0 to 1.
        force: replace `out`.

    Raises:
        SettingsError: no dataset is named, or `without` is out of its bounds.
        DataError: the examples cannot be read, none can be given passages, or `out` is there.
        StoreError: there is no collection, or it was built with another embedder.
    """
    from phi3kit.dataset.raft import raft

    _within("without", without, 0, 1)
    return raft(settings, Path(out), without=without, force=force)


def synth_dataset(settings: Settings, out: str | Path, *, count: int,
                  force: bool = False) -> SynthReport:
    """Write up to `count` question/answer pairs about the collection's passages to `out`.

    Raises:
        SettingsError: `count` is less than 1.
        DataError: `out` or rows of other settings are there.
        StoreError: there is no collection, or nothing in it.
        ModelError: the model cannot be loaded or reached.
    """
    from phi3kit.dataset.synth import synth

    _within("count", count, 1)
    return synth(settings, Path(out), count=count, force=force)


def finetune(settings: Settings, *, fresh: bool = False, resume: str | Path | None = None,
             strict: bool = False) -> TrainReport:
    """Train an adapter; an interrupted run goes on, a finished one is reused.

    Args:
        fresh: throw away what an earlier run with the same inputs left.
        resume: the run folder that has to go on.
        strict: stop before training at an example that would be left out or cut, is close to a
            held-out question or contradicts another.

    Raises:
        DataError: the dataset cannot be read, or none of its examples can be used.
        ModelError: the base cannot be loaded or trained.
        RunError: the loss is not finite, another process trains the same run, or `resume` was
            made with other settings or data.
    """
    from phi3kit.finetune.train import finetune as work

    return work(settings, fresh=fresh, resume=None if resume is None else Path(resume),
                strict=strict)


def plan(settings: Settings, methods: Method | Sequence[Method] = ("full", "lora", "qlora"), *,
         gpu: str | None = None, gpu_memory: float | None = None, gpus: int = 1,
         examples: int | None = None, tokens_per_example: int = 300,
         price: float | None = None) -> TrainingPlan:
    """Memory and cards of a training, and its hours and cost, before anything is downloaded.

    Args:
        settings: `model.name` may also be a size such as "7B"; the rows are those of `finetune`.
        methods: to plan for, or the only one.
        gpu: the name of a card; `gpu_memory`, in GB, is for one without a name here.
        gpus: how many such cards there are.
        examples: how many there will be, of `tokens_per_example`; None: those of
            `finetune.dataset`, if it is set.
        price: of an hour of a card; with `model.device: cpu` of the machine.

    Raises:
        ModelError: the model's shape is not known.
        SettingsError: no such method or card, a number out of its bounds, a price without
            examples, or what cannot be planned together.
        DataError: the dataset cannot be counted.
    """
    from phi3kit.finetune.ahead import plan_training
    from phi3kit.plan.step import METHODS

    wanted: Sequence[Method] = [methods] if isinstance(methods, str) else methods
    for method in wanted:
        _known("methods", method, METHODS)
    _within("gpus", gpus, 1, 1024)
    _within("tokens_per_example", tokens_per_example, 1)
    for name, given, least in (("examples", examples, 1), ("gpu_memory", gpu_memory, 0.1),
                               ("price", price, 0)):
        if given is not None:
            _within(name, given, least)
    if price is not None and examples is None and settings.finetune.dataset is None:
        raise SettingsError("the price of an hour, and no examples to count hours for",
                            where="price", mend="Give examples, or set finetune.dataset")
    return plan_training(settings, methods=wanted, gpu=gpu, gpu_memory=gpu_memory, gpus=gpus,
                         examples=examples, tokens_per_example=tokens_per_example,
                         hours=settings.finetune.dataset is not None, price=price)


def compare(settings: Settings, *, fresh: bool = False) -> Comparison:
    """Every option on `compare.questions`, with a verdict that may be "not decidable".

    Raises:
        DataError: the questions cannot be read, or one stands among the training examples.
        RunError: the arms would not run under the same conditions.
    """
    from phi3kit.compare.run import compare as work

    return work(settings, fresh=fresh)


def export(run: str | Path, mine: Settings, *, to: Target = "merged", out: Path | None = None,
           examples: Path | None = None, weights: Weights = "q8_0") -> ExportReport:
    """Write a trained model for other software, load it again and compare.

    Args:
        run: a finished run folder of `finetune`.
        to: "merged", "gguf", "ollama" or "vllm".
        out: the folder to write; None: `<run>/export/<to>`.
        examples: what its loss is measured on; None: the run's held-out questions, else the last
            examples that it was trained on.
        weights: how GGUF holds matrices: "q8_0", half as large, or "f16".

    Raises:
        SettingsError: there is no such `to` or `weights`.
        RunError: no such run, or the loss of the export is too much above the trained model's.
    """
    from phi3kit.export.gguf_file import WEIGHTS
    from phi3kit.export.run import export as room

    _known("to", to, TARGETS)
    _known("weights", weights, WEIGHTS)
    return room(mine, Path(run), to=to, out=out, examples=examples, weights=weights)


def _several(questions: Sequence[str]) -> list[str]:
    if isinstance(questions, str):  # whose letters would be questions
        raise TypeError("questions is a list of texts, not one text: write [question]")
    return list(questions)
