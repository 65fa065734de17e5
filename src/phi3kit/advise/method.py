"""LoRA or QLoRA: the rule `adapter-method`, from the plan of the model's memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from msgspec import structs

from phi3kit.advise.at_hand import AtHand
from phi3kit.plan.memory import GB, plan_memory
from phi3kit.plan.passes import choose_pass
from phi3kit.plan.shapes import MOST_PARAMETERS, Shape, shape_of
from phi3kit.records import MemoryPlan

Method = Literal["lora", "qlora"]

_SLOWER = "the base in 4 bits, steps about 30% slower"
_AGAIN = "with --checkpointing, steps about a third slower"
# Sizes, in billions, that "up to about …" is said in.
_SIZES = (0.5, 1, 1.5, 3, 3.8, 7, 14, 32, 70, 180, 405)
# Below a million weights nothing is planned; it is no language model either.
_LEAST_B = 0.001


@dataclass(frozen=True, slots=True)
class Tuning:
    """How to tune.

    Attributes:
        checkpointing: recompute activations, because it would not fit otherwise or because
            the project says so.
        plan: memory of a step on the fullest pass; None when the size is not known.
        shape: the model's; None likewise.
        why: a sentence.
    """

    method: Method
    checkpointing: bool = False
    plan: MemoryPlan | None = None
    shape: Shape | None = None
    why: str = ""

    @property
    def gigabytes(self) -> float:
        """What a step takes in all; 0 when the size is not known."""
        return self.plan.total / GB if self.plan else 0.0


def choose_method(answers: Mapping[str, Any], at_hand: AtHand) -> Tuning:
    """LoRA where it fits the GPU, else LoRA that recomputes activations, else QLoRA.

    Recomputing goes before 4 bits: both cost about a third of the speed, and it alone leaves
    the result as it is. Unknown sizes fall back to what is safe to say.
    """
    memory, shape = answers.get("gpu_memory_gb"), known_shape(answers, at_hand)
    if shape is None:
        return _without_size(memory, at_hand)
    ways = _ways(shape, at_hand, memory)
    lora, qlora = ways[0], next(way for way in ways if way.method == "qlora")
    if memory == 0:
        return replace(qlora, why="without a GPU only a small model trains, on the CPU; the "
                                  "base in 4 bits takes about a quarter of the memory")
    if memory is None:
        return replace(lora, why=f"about {lora.gigabytes:.1f} GB for {_size(shape)}, where QLoRA "
                                 f"takes {qlora.gigabytes:.1f} GB: right when the GPU has it")
    fitting = next((way for way in ways if way.gigabytes <= memory), None)
    if fitting is not None:
        return replace(fitting, why=_why(fitting, ways, memory))
    return replace(ways[-1], why=(
        f"even QLoRA needs about {ways[-1].gigabytes:.1f} GB and the GPU has {memory:g}: take a "
        "smaller model, or see `phi3kit plan`"))


def known_shape(answers: Mapping[str, Any], at_hand: AtHand) -> Shape | None:
    """The shape of the model that was named, else of the bare size; None when neither is known.

    Nor is that of a size which no model has.
    """
    if at_hand.shape is not None:
        return at_hand.shape
    size = answers.get("model_size_b")
    if size is None or not _LEAST_B <= size <= MOST_PARAMETERS / 1e9:
        return None
    return shape_of(bare_size(size))


def bare_size(size: float) -> str:
    """Billions of parameters as `plan --model` takes them: "3.8B"."""
    return f"{size:.6f}".rstrip("0").rstrip(".") + "B"


def _ways(shape: Shape, at_hand: AtHand, memory: float | None) -> list[Tuning]:
    """Every way to tune with its plan, the one that leaves most as it is first.

    A step is of the tokens that `finetune` would put into a pass on a GPU of `memory` GB.
    """
    chosen = at_hand.settings.finetune
    ways: list[tuple[Method, bool]] = [("lora", False), ("lora", True), ("qlora", False),
                                       ("qlora", True)]
    return [Tuning(method, again, plan_memory(
                shape, method, context=_pass_tokens(shape, method, again, at_hand, memory),
                rank=chosen.rank, checkpointing=again), shape)
            for method, again in ways if again or not chosen.checkpointing]


def _pass_tokens(shape: Shape, method: Method, again: bool, at_hand: AtHand,
                 memory: float | None) -> int:
    """The longest row, or as many tokens as a pass may hold."""
    chosen = at_hand.settings.finetune
    values = structs.replace(at_hand.settings, finetune=structs.replace(
        chosen, checkpointing=again))
    return max(chosen.max_tokens, choose_pass(
        values, method, shape, longest=chosen.max_tokens, place="cpu" if memory == 0 else "gpu",
        memory=None if memory is None else memory * GB).tokens)


def _why(fitting: Tuning, ways: Sequence[Tuning], memory: float) -> str:
    assert fitting.shape is not None
    need = f"about {fitting.gigabytes:.1f} GB for {_size(fitting.shape)}"
    if fitting is ways[0]:
        return f"{need} fit {memory:g} GB"
    slower = " and ".join(([_SLOWER] if fitting.method == "qlora" else [])
                          + ([_AGAIN] if fitting.checkpointing else []))
    if fitting.method == "lora":
        return (f"{ways[0].gigabytes:.1f} GB as it is, the GPU has {memory:g}; {need} {slower}")
    least = min(way.gigabytes for way in ways if way.method == "lora")
    return (f"LoRA needs at least {least:.1f} GB, the GPU has {memory:g}; QLoRA {need}: {slower}")


def _without_size(memory: float | None, at_hand: AtHand) -> Tuning:
    if memory == 0:
        return Tuning("qlora", why="without a GPU only a small model trains, on the CPU; the base "
                                   "in 4 bits takes about a quarter of the memory")
    if memory is None:
        return Tuning("lora", why="size and GPU unknown: LoRA when the base in 16 bits fits, "
                                  f"else QLoRA ({_SLOWER}); `phi3kit plan` counts both")
    held = [size for size in _SIZES
            if _ways(shape_of(bare_size(size)), at_hand, memory)[0].gigabytes <= memory]
    if not held:
        return Tuning("qlora", why=f"{memory:g} GB are too few for LoRA on {_SIZES[0]:g}B "
                                   f"parameters; QLoRA: {_SLOWER}")
    return Tuning("lora", why=f"{memory:g} GB hold LoRA up to about {held[-1]:g}B parameters; "
                              f"above that QLoRA ({_SLOWER})")


def _size(shape: Shape) -> str:
    return f"{shape.parameters / 1e9:.3g}B parameters"
