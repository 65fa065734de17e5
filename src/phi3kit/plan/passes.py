"""How many tokens a forward and backward pass takes, where `finetune.micro_batch_tokens` is null.

A CPU gains little beyond 1,024, shared out over its lanes, but for rows that are longer than a
lane's part: all cores on one of them are four fifths as fast as a row for each. So a lane takes as
many as the longest row, where half of the machine's memory holds that by plan. A GPU starves on so
few: starting a layer's kernels and unpacking 4-bit weights take as long for a short pass as for a
long one (see `time`). So on a card a pass holds the largest power of two of tokens that the plan
counts into the memory, at the high end of its range: that end takes 1.2 GiB and 15% for what is no
tensor, which is the room that is kept, and the next power of two does not fit. Never less than the
longest row, which is a pass of its own anyway, and never more than an optimizer step's rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from phi3kit.plan.activations import ATTENTION_KEPT_UP_TO, activations
from phi3kit.plan.cards import FRAGMENTATION, GB, shared_out
from phi3kit.plan.memory import parts_of
from phi3kit.plan.shapes import Shape
from phi3kit.plan.step import Method, Place, Step
from phi3kit.records import MemoryPlan, TrainingPlan
from phi3kit.settings import FinetuneSettings, Settings

ON_CPU = 1024
UNNAMED = 512  # where no card is known
# Packed, attention works on the square of a pass, masked parts too: 12 · layers · hidden · tokens
# operations per token beside 4 per weight, a sixth more for Phi-3-mini at 2,048.
PACKED = 2048
# Activations that the plan has no term for, as shares of those that it counts: full fine-tuning
# keeps what runs along the layers in 32 bits, and peft's own layers, which DoRA and dropout take,
# keep each input in 32 bits and more. A test counts them.
UNCOUNTED: Mapping[str, float] = MappingProxyType({"full": 1.0, "dora": 2.5, "dropout": 2.0})
_IN_WORDS = {"full": "what full fine-tuning keeps in 32 bits",
             "dora": "what the layers of DoRA keep (finetune.dora)",
             "dropout": "what layers with dropout keep (finetune.dropout)"}


@dataclass(frozen=True, slots=True)
class Pass:
    """What a forward pass may hold.

    Attributes:
        tokens: padding included.
        why: so many, in words.
        fits: False where the plan says that not even the longest row does.
    """

    tokens: int
    why: str
    fits: bool = True


def choose_pass(values: Settings, method: Method, shape: Shape | None, *, longest: int,
                place: Place, memory: float | None = None, cards: int = 1,
                shared: bool = False, lanes: int = 1) -> Pass:
    """The tokens of a pass: those of `finetune.micro_batch_tokens`, else by the device.

    Args:
        values: the settings of a training.
        method: how it trains, in place of what they say.
        shape: the model's; None where the plan does not know it.
        longest: tokens of the longest row, as it is padded.
        place: "cpu" for whatever is no CUDA card.
        memory: bytes free on the card, or on each; None: no card is known. On a CPU, for more
            than a pass needs.
        cards: that share the rows of an optimizer step out.
        shared: each card holds its share of the frozen layers, or of all that trains whole.
        lanes: passes that a CPU computes side by side.
    """
    own = values.finetune
    if own.micro_batch_tokens is not None:
        return Pass(own.micro_batch_tokens, "as set")
    if place == "cpu":
        return _on_cpu(values, method, shape, longest, memory, lanes, shared=shared)
    if memory is None:
        return Pass(max(UNNAMED, longest), f"a row or {UNNAMED}, for no card is named")
    if shape is None:
        return Pass(max(UNNAMED, longest),
                    f"a row or {UNNAMED}, for the model's shape is not known")
    step = longest * -(-own.batch_size // cards)
    most = min(step, PACKED) if own.packing else step

    def fits(tokens: int) -> bool:
        return _need(values, method, shape, Step(
            context=tokens, rank=own.rank, checkpointing=own.checkpointing,
            float32=values.model.dtype == "float32"), cards if shared else 1) <= memory

    tokens = 1
    while tokens < most and fits(2 * tokens):
        tokens *= 2
    tokens = max(longest, min(tokens, most))
    room = f"{memory / GB:.1f} GB"
    if not fits(tokens):
        return Pass(tokens, f"one row, for which {room} are tight", fits=False)
    if tokens == step:
        rows = "all rows of an optimizer step" if cards == 1 else "a card's rows of a step"
        return Pass(tokens, f"{rows}, which {room} hold with room kept")
    return Pass(tokens, f"what {room} hold by plan with room kept")


def _on_cpu(values: Settings, method: Method, shape: Shape | None, longest: int,
            memory: float | None, lanes: int, *, shared: bool) -> Pass:
    """Room for the longest row in each lane, if memory has it; beyond attention's, none is used."""
    own, row = values.finetune, min(longest, ATTENTION_KEPT_UP_TO)
    if lanes == 1 or lanes * row <= ON_CPU:
        return Pass(ON_CPU, "a CPU gains little from more")
    if shape is None or memory is None:
        return Pass(ON_CPU, "what a long row for each lane would take is not known")
    beside = min(lanes, own.batch_size)
    step = Step(context=row, batch=beside, rank=own.rank, checkpointing=own.checkpointing,
                place="cpu", float32=values.model.dtype == "float32", lanes=beside,
                shared=shared)
    if _need(values, method, shape, step) > memory:
        return Pass(ON_CPU, "a long row for each lane may fill more than half of the memory")
    return Pass(lanes * row, f"room for the longest row in each of {lanes} lanes")


def uncounted(own: FinetuneSettings, method: Method) -> tuple[str, ...]:
    """Of the names in `UNCOUNTED` those that a training by `method` has."""
    on = {"full": method == "full", "dora": own.dora and method != "full",
          "dropout": own.dropout > 0 and method != "full"}
    return tuple(name for name, there in on.items() if there)


def with_uncounted(found: TrainingPlan, own: FinetuneSettings) -> TrainingPlan:
    """A plan for cards, with what its activations leave out among the assumptions."""
    return replace(found, plans=tuple(
        replace(plan, assumptions=(*plan.assumptions, *_left_out(plan, own))) if plan.gpus else plan
        for plan in found.plans))


def _left_out(plan: MemoryPlan, own: FinetuneSettings) -> Iterator[str]:
    for name in uncounted(own, plan.method):
        most = UNCOUNTED[name] * plan.parts["activations"] / GB
        yield (f"the activations of {plan.method} leave out {_IN_WORDS[name]}: up to {most:,.1f} "
               "GB more")


def _need(values: Settings, method: Method, shape: Shape, step: Step, cards: int = 1) -> int:
    """Bytes of a pass on each card, at the high end, with what the plan has no term for."""
    own = values.finetune
    parts = parts_of(shape, method, step, "high")
    # Shares of what is kept on a card: what a CPU keeps less of, these keep as well.
    more = activations(shape, method, replace(step, place="gpu")) * sum(
        UNCOUNTED[name] for name in uncounted(own, method))
    if own.packing and step.place == "gpu":
        # Who sees whom, once in a byte and per layer in a number.
        more += step.tokens**2 * (
            1 + step.number_bytes * (1 if own.checkpointing else shape.layers))
    need = sum(parts.values()) + int(more * (1 + FRAGMENTATION["high"]))
    if cards == 1:
        return need
    shared = shared_out(shape, method, cards, float32=step.float32)
    return need - int(shared * (1 + FRAGMENTATION["high"]))
