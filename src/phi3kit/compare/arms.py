"""The arms: the assistant that `ask` runs, with other things to read and other weights.

One base is loaded and one retrieval is done; adapters are switched. That all arms share the
rest is looked at before each of them, not taken for granted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from phi3kit.compare.passages import Reader, WholeCorpus, readers
from phi3kit.compare.tuned import TUNED
from phi3kit.errors import RunError
from phi3kit.files import sha256_bytes
from phi3kit.records import ARMS, OPTIONS, Answer, Arm, Message, Option, Passage, Question

if TYPE_CHECKING:
    from phi3kit.compare.shots import Shots
    from phi3kit.models.generate import Generator, LocalGenerator
    from phi3kit.settings import AskSettings, Settings

# What an arm reads; an arm that is not named here answers closed book.
READS: Mapping[Arm, Literal["search", "oracle", "all"]] = {
    "rag": "search", "both": "search", "bolted-on": "search", "oracle-rag": "oracle",
    "full-context": "all"}
RETRIEVING: frozenset[str] = frozenset(arm for arm, how in READS.items() if how == "search")

# The base's greedy answer to this is a fingerprint of its weights as they are in memory.
_PROBE: tuple[Message, ...] = ({"role": "user", "content": "Name three colours."},)
_PROBE_TOKENS = 8


@dataclass
class Bench:
    """What the arms share.

    Attributes:
        generator: the base; a local one carries the adapter of the tuned arm that answers.
        readers: what finds passages, by the names in READS.
        ask: instruction, passages and decoding, for all arms.
        batch_tokens: prompt tokens that are answered at once.
        adapters: the adapter's folder by tuned arm.
        shots: training examples for few-shot; None when it does not run.
        on: the adapter that is on the model now.
    """

    generator: Generator
    readers: Mapping[str, Reader]
    ask: AskSettings
    batch_tokens: int
    adapters: Mapping[Arm, Path] = field(default_factory=dict)
    shots: Shots | None = None
    on: Path | None = None


def ordered(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """The arms once each, in the order of ARMS."""
    return tuple(arm for arm in ARMS if arm in arms)


def contestants(arms: Sequence[Arm]) -> tuple[Option, ...]:
    """Those of `arms` that can win."""
    return tuple(option for option in OPTIONS if option in arms)


def open_bench(settings: Settings, arms: Sequence[Arm], questions: Sequence[Question],
               adapters: Mapping[Arm, Path]) -> Bench:
    """Open what `arms` need, and nothing else; the model last, for it takes longest.

    Raises:
        ModelError, StoreError, DataError: something cannot be opened.
        RunError: the documents do not fit into the context, and full-context is to run.
    """
    from phi3kit.rag.assistant import open_generator

    found = readers({READS[arm] for arm in arms if arm in READS}, settings, questions)
    shots = None
    if "few-shot" in arms:
        from phi3kit.compare.shots import open_shots

        shots = open_shots(settings)
    first = next(iter(adapters.values()), None)
    generator = open_generator(settings, adapter=first)
    everything = found.get("all")
    if isinstance(everything, WholeCorpus):
        everything.refuse_if_too_long([q.question for q in questions], generator, settings.ask)
    return Bench(generator, found, settings.ask, settings.compare.batch_tokens, adapters, shots,
                 on=first)


def answer(bench: Bench, arm: Arm, questions: Sequence[str],
           on_answers: Callable[[list[int], list[Answer]], None]) -> None:
    """Have one arm answer; `on_answers(indices, answers)` is called after each batch."""
    from phi3kit.rag.assistant import Assistant

    reader: Any = bench.readers[READS[arm]] if arm in READS else None
    histories = None
    if arm == "few-shot" and bench.shots is not None:
        histories = bench.shots.histories(questions)
    with _switched(bench, arm):
        Assistant(bench.generator, reader, bench.ask).answer_all(
            questions, batch_tokens=bench.batch_tokens, on_answers=on_answers,
            histories=histories)


def _switched(bench: Bench, arm: Arm) -> contextlib.AbstractContextManager[Any]:
    local = _local(bench.generator)
    if arm not in TUNED:
        return local.without_adapter() if local else contextlib.nullcontext()
    wanted = bench.adapters.get(arm)
    if local is None or wanted is None:
        raise RunError(f"the arm '{arm}' has no adapter to answer with")
    if bench.on != wanted:
        local.put_on(wanted)
        bench.on = wanted
    return contextlib.nullcontext()


def _local(generator: Generator) -> LocalGenerator | None:
    from phi3kit.models.generate import LocalGenerator

    return generator if isinstance(generator, LocalGenerator) else None


def conditions(bench: Bench, settings: Settings) -> dict[str, Any]:
    """What all arms must share, read from what is in memory now."""
    search: Any = bench.readers.get("search")
    return {
        **_model(bench, settings),
        "instruction": bench.ask.instruction,
        "decoding": "greedy",
        "max_new_tokens": bench.ask.max_new_tokens,
        "passages": bench.ask.passages,
        "min_similarity": bench.ask.min_similarity,
        # Not in what runs of before it was a setting have noted.
        **({} if bench.ask.unsupported == "show" else {"unsupported": bench.ask.unsupported}),
        "index": search.fingerprint if search else None,
    }


def with_index(now: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Conditions with the shared index where none is open to search in, so that none differs."""
    return {**now, "index": now.get("index") or shared.get("index")}


def _model(bench: Bench, settings: Settings) -> dict[str, Any]:
    """The model as it is in memory; of a server's no more is known than its name and place."""
    local = _local(bench.generator)
    if local is None:
        return {"model": settings.model.name, "server": settings.model.endpoint}
    loaded = local.loaded
    with local.without_adapter():
        probe = local.generate([_PROBE], max_new_tokens=_PROBE_TOKENS,
                               batch_tokens=bench.batch_tokens)[0].text
    return {
        "model": loaded.name,
        "checkpoint": loaded.fingerprint,
        "quantization": loaded.quantization,
        "dtype": loaded.dtype,
        "device": loaded.device,
        "template": _hash(str(loaded.tokenizer.chat_template)),
        "base_probe": _hash(probe),
    }


def prompt_fingerprint(ask: AskSettings) -> str:
    """Identity of the prompts' form: a change of its wording is another comparison."""
    from phi3kit.rag.prompt import build

    passage = Passage(id="i", text="t", source="s.md", start=0, end=1, page=1, heading="h")
    forms = [build("q", passages, instruction=ask.instruction) for passages in (None, [passage])]
    return _hash(repr(forms))


def _hash(text: str) -> str:
    return f"sha256:{sha256_bytes(text.encode())}"


def assert_same(seen: Mapping[str, Any], wanted: Mapping[str, Any], arm: str) -> None:
    """Stop the run when the conditions of `arm` are not those of the arms before it.

    Raises:
        RunError: names what differs.
    """
    for name in dict.fromkeys([*wanted, *seen]):
        if seen.get(name) != wanted.get(name):
            raise RunError(
                f"the arm '{arm}' would run with another {name.replace('_', ' ')} than the arms "
                f"before it ({seen.get(name)!r}, was {wanted.get(name)!r})",
                mend="Run compare again with --fresh")
