"""The exact commands that do what is advised, with every name that is known now filled in."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from phi3kit.advise.at_hand import AtHand
from phi3kit.advise.method import Tuning, bare_size
from phi3kit.records import OPTIONS, Option

RETRIEVING: tuple[Option, ...] = ("rag", "both")
TUNED: tuple[Option, ...] = ("finetune", "both")
# What `plan` takes for a card.
_LEAST_CARD_GB = 0.1
# Share of the examples with passages, by the rule `how-to-combine`.
MIXED = 0.5


def to_do(option: Option, tuning: Tuning, answers: Mapping[str, Any],
          at_hand: AtHand) -> tuple[str, ...]:
    """What puts `option` to use, and the comparison that checks it unless it was made."""
    if option in at_hand.tried:
        return (ask(option, at_hand),)
    if option == "base":
        return ask(option, at_hand), ingest(at_hand), compare(("base", "rag"), at_hand)
    if option == "rag":
        return ingest(at_hand), ask(option, at_hand), compare(("base", "rag"), at_hand)
    # What the comparison needs is there by then: a collection only where one was built.
    arms = OPTIONS if option == "both" else ("base", option)
    return (*preparing((option,), tuning, answers, at_hand), compare(arms, at_hand))


def preparing(arms: Sequence[Option], tuning: Tuning, answers: Mapping[str, Any],
              at_hand: AtHand) -> tuple[str, ...]:
    """What has to be there before `arms` can answer: a collection, an adapter."""
    commands: list[str] = []
    if any(arm in RETRIEVING for arm in arms) and not _tried(at_hand, RETRIEVING):
        commands.append(ingest(at_hand))
    if any(arm in TUNED for arm in arms) and not _tried(at_hand, TUNED):
        commands += [*_plan(tuning, answers, at_hand),
                     finetune(tuning, at_hand, mixed="both" in arms)]
    return tuple(commands)


def ask(option: Option, at_hand: AtHand) -> str:
    """One question, answered the way of `option`."""
    tuned = at_hand.adapter or "RUN_OF_FINETUNE"
    return ('phi3kit ask "YOUR QUESTION"' + ("" if option in RETRIEVING else " --no-rag")
            + (f" --adapter {shlex.quote(tuned)}" if option in TUNED else "") + _model(at_hand))


def ingest(at_hand: AtHand) -> str:
    """Documents into the collection."""
    if not at_hand.corpus and at_hand.settings.ingest.corpus:
        return "phi3kit ingest"
    named = " ".join(map(shlex.quote, at_hand.corpus))
    return f"phi3kit ingest {named or 'YOUR_DOCUMENTS/'}"


def finetune(tuning: Tuning, at_hand: AtHand, *, mixed: bool) -> str:
    """An adapter from the examples; `mixed`: one that reads passages as well."""
    chosen = at_hand.settings.finetune
    command = "phi3kit finetune"
    if at_hand.dataset:
        command += f" --dataset {shlex.quote(at_hand.dataset)}"
    elif not chosen.dataset:
        command += " --dataset YOUR_EXAMPLES.jsonl"
    command += _model(at_hand)
    if (tuning.method == "qlora") != chosen.qlora:
        command += " --qlora" if tuning.method == "qlora" else " --no-qlora"
    if tuning.checkpointing and not chosen.checkpointing:
        command += " --checkpointing"
    return command + (f" --passages {MIXED:g}" if mixed and not chosen.passages else "")


def compare(arms: Sequence[Option], at_hand: AtHand) -> str:
    """The arms on held-out questions."""
    settings = at_hand.settings
    command = "phi3kit compare"
    if at_hand.questions or not settings.compare.questions:
        command += f" --questions {shlex.quote(at_hand.questions or 'YOUR_QUESTIONS.jsonl')}"
    run = [option for option in OPTIONS if option in arms]
    if tuple(run) != settings.compare.arms:
        command += f" --arms {','.join(run)}"
    if any(arm in TUNED for arm in run) and (at_hand.adapter or not settings.ask.adapter):
        command += f" --adapter {shlex.quote(at_hand.adapter or 'RUN_OF_FINETUNE')}"
    return command + _model(at_hand)


def _plan(tuning: Tuning, answers: Mapping[str, Any], at_hand: AtHand) -> tuple[str, ...]:
    if tuning.shape is None:
        return ()
    name = shlex.quote(at_hand.model) if at_hand.model else bare_size(answers["model_size_b"])
    memory = answers.get("gpu_memory_gb")
    return (f"phi3kit plan --model {name} --method {tuning.method}"
            + (" --checkpointing" if tuning.checkpointing else "")
            + (f" --gpu-memory {memory:g}" if memory and memory >= _LEAST_CARD_GB else ""),)


def _tried(at_hand: AtHand, options: Sequence[Option]) -> bool:
    return any(option in at_hand.tried for option in options)


def _model(at_hand: AtHand) -> str:
    return f" --model {shlex.quote(at_hand.to_load)}" if at_hand.to_load else ""
