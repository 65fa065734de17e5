"""What the options in question take, before they are tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from phi3kit.advise.at_hand import AtHand
from phi3kit.advise.commands import MIXED, RETRIEVING, TUNED
from phi3kit.advise.method import Tuning
from phi3kit.plan.gpus import of_memory
from phi3kit.plan.time import train_time
from phi3kit.records import Cost, Option

# Training the packaged model on a CPU peaked at 4.7 GB on a Xeon and at 3.3 on an EPYC
# (docs/measured/demo.json) where the plan counts 1.9: the process itself, the embedder beside it,
# and arithmetic in 32 bits on CPUs without bfloat16.
_ON_CPU = 2.5
# Prompt and answer of an example while none was read: a label for a line, what `phi3kit plan`
# takes where nobody says, a page.
_LENGTHS = (40.0, 300.0, 1000.0)


def costs(options: Sequence[Option], tuning: Tuning, answers: Mapping[str, Any],
          at_hand: AtHand) -> tuple[Cost, ...]:
    """Memory and time to train, tokens to index, and prompt tokens that passages add.

    Args:
        options: those in question; each gets records of its own.
        tuning: how they would be tuned, with its plan if the model's size is known.
        answers: the scenario.
        at_hand: the settings that passages, chunks, epochs and rows come from.
    """
    found: list[Cost] = []
    for option in options:
        if option in TUNED:
            found += _training(option, tuning, answers, at_hand)
        if option in RETRIEVING:
            found += _retrieving(option, answers, at_hand)
    return tuple(found)


def _training(option: Option, tuning: Tuning, answers: Mapping[str, Any],
              at_hand: AtHand) -> Iterator[Cost]:
    if tuning.plan is None:
        return
    way = f"{tuning.method}{' with --checkpointing' if tuning.checkpointing else ''}"
    how = f"phi3kit plan: {way}, up to {tuning.plan.context} tokens at once"
    low = high = tuning.gigabytes
    if answers.get("gpu_memory_gb") == 0:
        high *= _ON_CPU
        how += f", which counts a GPU's; of main memory up to {_ON_CPU:g} times that"
    yield Cost(option, "memory to train", low, (low + high) / 2, high, "GB", how)
    examples, memory = answers.get("training_examples"), answers.get("gpu_memory_gb")
    if examples and memory is not None:
        yield _time(option, tuning, examples, memory, at_hand)


def _time(option: Option, tuning: Tuning, examples: int, memory: float,
          at_hand: AtHand) -> Cost:
    """Minutes or hours over all epochs, passages in the prompts included."""
    assert tuning.shape is not None and tuning.plan is not None
    chosen = at_hand.settings.finetune
    gpus = of_memory(memory) if memory else ()
    lengths = (at_hand.example_tokens,) * 3 if at_hand.example_tokens else _LENGTHS
    share = chosen.passages or (MIXED if option == "both" else 0.0)
    added = share * _most_passage_tokens(at_hand)
    found = []
    for length in lengths:
        row = min(length + added, float(chosen.max_tokens))
        found.append(train_time(tuning.shape, tuning.method, tokens=examples * chosen.epochs * row,
                                context=round(row), gpus=gpus,
                                checkpointing=tuning.checkpointing,
                                pass_tokens=tuning.plan.context))
    low, expected, high = found[0].low, found[1].expected, found[2].high
    unit, scale = ("hours", 1.0) if expected >= 1 else ("minutes", 60.0)
    tokens = f"about {lengths[1]:.0f}" if lengths[0] == lengths[2] else (
        f"{lengths[0]:.0f} to {lengths[2]:.0f} (expected {lengths[1]:.0f})")
    passages = f", {share:.0%} of them with passages" if share else ""
    return Cost(option, "time to train", low * scale, expected * scale, high * scale, unit,
                f"phi3kit plan: {examples:,} examples of {tokens} tokens{passages}, "
                f"{chosen.epochs:g} epochs, {found[1].how}")


def _retrieving(option: Option, answers: Mapping[str, Any], at_hand: AtHand) -> Iterator[Cost]:
    passages, chunk = at_hand.settings.ask.passages, at_hand.settings.ingest.chunk_tokens
    most = _most_passage_tokens(at_hand)
    yield Cost(option, "prompt tokens that passages add to a question", most, most, most, "tokens",
               f"{passages} passages (ask.passages) of up to {chunk} tokens "
               "(ingest.chunk_tokens)")
    tokens = answers.get("corpus_tokens")
    if tokens:
        yield Cost(option, "tokens to index", float(tokens), float(tokens), float(tokens),
                   "tokens", "corpus_tokens; once, then only what changes")


def _most_passage_tokens(at_hand: AtHand) -> float:
    return float(at_hand.settings.ask.passages * at_hand.settings.ingest.chunk_tokens)
