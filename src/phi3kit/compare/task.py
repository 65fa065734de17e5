"""What a comparison is asked to do, checked before anything is loaded, and its identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from phi3kit.compare.arms import READS, RETRIEVING, contestants, ordered, prompt_fingerprint
from phi3kit.compare.choice import check_weights
from phi3kit.compare.formats import Formats, read_formats
from phi3kit.compare.gate import read_gate, refuse_unmeasured
from phi3kit.compare.judge import open_judge
from phi3kit.compare.questions import read_questions
from phi3kit.compare.tuned import Adapters, find_adapters
from phi3kit.errors import SettingsError
from phi3kit.files import sha256_file
from phi3kit.ingest.site import site_of
from phi3kit.models.server_url import checked_url
from phi3kit.records import Arm, Question
from phi3kit.settings import Settings
from phi3kit.shipped import shipped

SHIPPED = "shipped"


@dataclass(frozen=True, slots=True)
class Task:
    """Which arms answer which questions, with which adapters."""

    settings: Settings
    arms: tuple[Arm, ...]
    questions: tuple[Question, ...]
    adapters: Adapters
    formats: Formats


def prepare(settings: Settings) -> Task:
    """Read and check what can be told without a model.

    Raises:
        SettingsError: no questions, one arm alone, an arm without what it needs, or weights,
            a gate, a judge or freshness that cannot be used.
        DataError: questions, formats or general questions that cannot be read; questions that
            training examples give away.
        ModelError: there is no adapter in a folder, or a server's URL is none.
    """
    chosen = settings.compare
    arms = ordered(chosen.arms)
    if len(contestants(arms)) < 2:
        raise SettingsError("one arm alone cannot be compared", where="compare.arms",
                            mend="Name two or more of base, rag, finetune, both")
    check_weights(chosen.weights)
    _check_freshness(settings, arms)
    open_judge(settings)
    if settings.model.endpoint is not None:  # a password in it would stand in the run's record
        checked_url(settings.model.endpoint, where="model.endpoint")
    for text in chosen.gate:
        read_gate(text, arms)
    if not chosen.questions:
        raise SettingsError("no held-out questions", where="compare.questions",
                            mend="Give them with --questions FILE")
    if "few-shot" in arms and not settings.finetune.dataset:
        raise SettingsError("few-shot needs training examples", where="finetune.dataset",
                            mend="Set it in phi3kit.yaml, or leave out few-shot")
    formats = read_formats(Path(chosen.formats) if chosen.formats else None)
    questions = read_questions(Path(chosen.questions), formats)
    refuse_unmeasured(chosen.gate, arms, questions, formats, similarity=chosen.similarity)
    if (general := general_file(settings)) is not None:
        read_questions(general, name="compare.general_questions")
    adapters = find_adapters(settings, arms, questions)
    return Task(_of_adapters(settings, adapters), arms, questions, adapters, formats)


def _of_adapters(settings: Settings, adapters: Adapters) -> Settings:
    """Every arm answers with the commit of the base that the adapters were trained on."""
    first = next(iter(adapters.by_arm.values()), None)
    if first is None:
        return settings
    from phi3kit.models.adapters import pinned

    return msgspec.structs.replace(settings, model=pinned(settings.model, first))


def general_file(settings: Settings) -> Path | None:
    """Where the general questions stand; None without any."""
    named = settings.compare.general_questions
    if named is None:
        return None
    return shipped("data") / "general.jsonl" if named == SHIPPED else Path(named)


def _check_freshness(settings: Settings, arms: Sequence[Arm]) -> None:
    if not settings.compare.freshness:
        return
    if not any(arm in RETRIEVING for arm in contestants(arms)):
        raise SettingsError("no arm reads the documents that would change",
                            where="compare.freshness", mend="Add rag or both to --arms")
    if not isinstance(site_of(settings.ingest.store), Path):
        raise SettingsError("a collection on a server is not copied, so it cannot be measured",
                            where="compare.freshness",
                            mend="Ingest into a folder, or set it to 0")


def inputs(task: Task) -> dict[str, Any]:
    """What decides the answers. How they are judged is left out: that is done again at will."""
    settings = task.settings
    assert settings.compare.questions
    return {
        "questions": sha256_file(Path(settings.compare.questions)),
        **_model(settings),
        "quantization": settings.model.quantization,
        "dtype": settings.model.dtype,
        "device": settings.model.device,
        **_adapters(task.adapters.hashes()),
        "index": _index(task),
        "prompt": prompt_fingerprint(settings.ask),
        "passages": settings.ask.passages,
        "min_similarity": settings.ask.min_similarity,
        # Runs of before it was a setting stay what they are.
        **({} if settings.ask.unsupported == "show" else {
            "unsupported": settings.ask.unsupported}),
        "retrieval": settings.ask.retrieval,
        "filters": sorted(settings.ask.filters),
        "rerank": _reranker(settings),
        "max_new_tokens": settings.ask.max_new_tokens,
        **_shots(task),
    }


def _model(settings: Settings) -> dict[str, Any]:
    if settings.model.endpoint is not None:
        return {"base": settings.model.name, "server": settings.model.endpoint,
                "context": settings.model.endpoint_context}
    from phi3kit.models.bases import fingerprint, reading

    model = settings.model
    # Another template asks the same weights other questions.
    reads = reading(model.name, model.revision)
    return {"base": fingerprint(model.name, model.revision), **({"reads": reads} if reads else {})}


def _adapters(hashes: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """One hash while one adapter serves all tuned arms, so that adding an arm keeps the run."""
    different = set(map(tuple, hashes.values()))
    if len(different) < 2:
        return _listed("adapter", next(iter(different), ()))
    return {**_listed("adapter", hashes.get("finetune") or hashes.get("bolted-on") or ()),
            **_listed("adapter_rag", hashes.get("both") or ())}


def _listed(name: str, hashes: Sequence[str]) -> dict[str, Any]:
    """The first hash, and those of other seeds where there are any."""
    first, *others = hashes or (None,)
    return {name: first, **({f"more_{name}": others} if others else {})}


def _index(task: Task) -> str | None:
    if not any(arm in READS for arm in task.arms):
        return None
    from phi3kit.ingest.site import site_of
    from phi3kit.ingest.store import open_store

    wanted = task.settings.ingest
    return open_store(site_of(wanted.store), wanted.collection).fingerprint


def _reranker(settings: Settings) -> str | None:
    """Identity of the reranker's weights, for a folder of the same name may hold others."""
    if settings.ask.rerank is None:
        return None
    from phi3kit.rag.rerank import open_reranker

    return open_reranker(settings.ask.rerank).fingerprint


def _shots(task: Task) -> dict[str, Any]:
    if "few-shot" not in task.arms:
        return {}
    settings = task.settings
    return {"shots": settings.compare.shots, "embedder": settings.ingest.embedder,
            "examples": sha256_file(Path(settings.finetune.dataset or ""))}
