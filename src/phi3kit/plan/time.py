"""Time of training, before it is spent.

**Arithmetic.** Per token and weight that is multiplied (the decoder layers' linear modules and
the output layer, not the embedding): 2 operations forward, and 2 each for the gradients of the
inputs and of the weights (Kaplan et al. 2020, section 2.1). An adapter does not need those of the
frozen weights, so 4 for LoRA and QLoRA, 6 for full fine-tuning. The adapter's own arithmetic,
about one per cent, is left out. Attention takes 2 · layers · hidden · context per token forward
(Kaplan, table 1; half of the full matrix, as a causal mask leaves it) and twice that backward,
whatever is trained. Recomputed activations are one more forward pass of everything (Narayanan et
al. 2021 count them so).

**Speed on a GPU.** A share of the peak for the arithmetic; for QLoRA also the weights unpacked in
each pass: 4 bits read, 16 written and read again, 4.5 bytes per weight at a share of the memory's
bandwidth, however many tokens the pass has; and never less than the time that it takes to start
a layer's kernels. `_SHARE`, `_BANDWIDTH` and `_LAYER_SECONDS` are assumptions. They were set so
that published times of others lie between low and high: 42 of LoRA and QLoRA, 1.8B to 72B, 256 to
8,192 tokens, on an A100 (README of Qwen, "Profiling of Memory and Speed"). No time on a GPU was
measured with this project. Several cards are taken to reach `_TOGETHER` of their joint speed, an
assumption too.

**Speed on a CPU.** What the demo measured on two cores (docs/measured/demo.json), half to twice
of it. That was QLoRA, and stands for LoRA too: there the two took the same time (docs/plan.md).
In float32, as on a CPU without bfloat16, an adapter takes `FLOAT32_ON_CPU` times as long, the
middle of the trainings in docs/measured/times-float32.json; that is another, slower CPU too.
Full fine-tuning takes `FULL_ON_CPU` times what its operations would take at that rate: the middle
one of the three trainings in docs/measured/times-bfloat16.json, of 2.9 to 3.6 times. Operations do
not count what it does besides: each pass casts every float32 weight, and its gradient, and adds
the gradient up; each step reads and writes 28 bytes per weight for AdamW, and 4 to clip; and its
layers are transformers' own, where an adapter's compute in fewer passes over memory
(finetune/fused.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from phi3kit.plan.gpus import Gpu
from phi3kit.plan.shapes import Shape, shape_of
from phi3kit.plan.step import Method
from phi3kit.records import DatasetSize, TimePlan
from phi3kit.settings import FinetuneSettings

# Low, expected, high, of the hours.
_SHARE = (0.6, 0.4, 0.2)
_BANDWIDTH = (0.8, 0.4, 0.15)
_LAYER_SECONDS = (0.0004, 0.0008, 0.002)  # to start the kernels of a layer, in each pass
_CPU_RANGE = (2.0, 1.0, 0.5)
# Several cards together, each with rows of its own: how much of their joint speed is left.
_TOGETHER = (1.0, 0.9, 0.7)
_UNPACKED_BYTES = 4.5

# From docs/measured/demo.json, "finetune": QLoRA of the packaged model, activations kept, 88
# steps of 8 examples. A test compares.
DEMO_TOKENS, DEMO_SECONDS, _DEMO_CONTEXT = 94_694, 129.52, 140
# From docs/measured/times-bfloat16.json and that rate. A test compares.
FULL_ON_CPU = 3.4
# From docs/measured/times-float32.json and that rate, for an adapter. A test compares.
FLOAT32_ON_CPU = 5.5


@dataclass(frozen=True, slots=True)
class Work:
    """What one token takes.

    Attributes:
        flops: operations, a product and a sum being two.
        passes: through the linear modules: forward, backward, recomputed.
    """

    flops: float
    passes: int


def work_per_token(shape: Shape, method: Method, *, context: int,
                   checkpointing: bool = False) -> Work:
    """Operations that training takes per token in rows of `context` tokens."""
    again = 1 if checkpointing else 0
    multiplied = shape.linear + shape.vocab * shape.hidden
    attention = 2 * shape.layers * shape.hidden * context
    forwards = (3 if method == "full" else 2) + again
    return Work(2 * multiplied * forwards + attention * (3 + again), 2 + again)


def train_time(shape: Shape, method: Method, *, tokens: float, context: int,
               gpus: Sequence[Gpu] = (), checkpointing: bool = False,
               pass_tokens: int | None = None, price: float | None = None,
               together: int = 1, float32: bool = False) -> TimePlan:
    """Hours that training on `tokens` takes.

    Args:
        tokens: real tokens over all epochs.
        context: tokens per row, for attention.
        gpus: cards that it may run on, one at a time: the fastest gives `low`, the slowest
            `high`. None: a CPU of two cores.
        checkpointing: activations are recomputed.
        pass_tokens: tokens of a forward pass, over its rows; None: one row.
        price: of an hour of a card, in any currency; adds the cost.
        together: how many cards share the rows out.
        float32: the arithmetic of an adapter's training on a CPU.
    """
    work = work_per_token(shape, method, context=context, checkpointing=checkpointing)
    at_once = max(context, pass_tokens or 0)
    if gpus:
        ranked = sorted(gpus, key=lambda gpu: -gpu.tflops)
        cards = (ranked[0], ranked[len(ranked) // 2], ranked[-1])
        seconds = tuple(tokens * _gpu_seconds(shape, method, work, gpu, at_once, end)
                        for end, gpu in enumerate(cards))
        how = (f"{_SHARE[2]:.0%} to {_SHARE[0]:.0%} of the 16-bit peak of "
               f"{', '.join(gpu.name for gpu in gpus)}; not measured")
        assumed = _assumed_of_gpus(method, at_once)
    else:
        slower = FULL_ON_CPU if method == "full" else FLOAT32_ON_CPU if float32 else 1.0
        seconds = tuple(slower * tokens * work.flops / (cpu_flops() * share)
                        for share in _CPU_RANGE)
        how = "at the rate measured for the packaged model on two CPU cores, half to twice of it"
        assumed = (_assumed_of_a_cpu(method, float32=float32),)
    if together > 1:
        seconds = tuple(value / (together * share)
                        for value, share in zip(seconds, _TOGETHER, strict=True))
        assumed += (f"{together} cards together, at {_TOGETHER[2]:.0%} to {_TOGETHER[0]:.0%} of "
                    f"{together} times the speed of one; layers that are gathered from other cards "
                    "take longer",)
    low, expected, high = (value / 3600 for value in seconds)
    paid = None if price is None else price * together
    cost = None if paid is None else {
        "low": low * paid, "expected": expected * paid, "high": high * paid}
    return TimePlan(method=method, tokens=round(tokens), low=low, expected=expected, high=high,
                    how=how, cost=cost, assumptions=assumed)


def plan_times(shape: Shape, methods: Iterable[Method], size: DatasetSize,
               settings: FinetuneSettings, *, gpus: Sequence[Gpu],
               most_tokens: Mapping[Method, int], in_float32: Collection[Method] = (),
               price: float | None = None, together: int = 1) -> list[TimePlan]:
    """Hours that `finetune` would take on a dataset, for each method.

    Args:
        settings: epochs, batch_size and checkpointing count.
        most_tokens: that a forward pass of each method may hold; one batch is never more than
            its rows.
        in_float32: methods that a CPU computes in that.
        together: how many cards share the rows of a batch out.
    """
    row = max(1, round(size.tokens / size.examples))
    return [train_time(shape, method, tokens=size.tokens * settings.epochs, context=row, gpus=gpus,
                       checkpointing=settings.checkpointing, price=price, together=together,
                       float32=method in in_float32,
                       pass_tokens=min(most_tokens[method], row * settings.batch_size // together))
            for method in methods]


def cpu_flops() -> float:
    """Operations per second that the demo's training reached on two CPU cores."""
    work = work_per_token(shape_of("smollm2-135m"), "qlora", context=_DEMO_CONTEXT)
    return work.flops * DEMO_TOKENS / DEMO_SECONDS


def _gpu_seconds(shape: Shape, method: Method, work: Work, gpu: Gpu, at_once: int,
                 end: int) -> float:
    """Seconds per token; `end` is 0 for low, 1 for expected, 2 for high."""
    computed = work.flops / (gpu.tflops * 1e12 * _SHARE[end])
    unpacked = 0.0
    if method == "qlora":
        moved = work.passes * shape.linear * _UNPACKED_BYTES / at_once
        unpacked = moved / (gpu.bandwidth_gb * 1e9 * _BANDWIDTH[end])
    started = work.passes * shape.layers * _LAYER_SECONDS[end] / at_once
    return max(computed, started) + unpacked


def _assumed_of_a_cpu(method: Method, *, float32: bool) -> str:
    if method == "full":
        return (f"two CPU cores; full fine-tuning takes {FULL_ON_CPU:g} times what its operations "
                "would at that rate, as was measured for a small model")
    if float32:
        return (f"two CPU cores in float32, which takes {FLOAT32_ON_CPU:g} times as long as "
                "bfloat16 where the CPU has it, as was measured for a small model")
    return "two CPU cores; LoRA as fast as QLoRA, as was measured for a small model"


def _assumed_of_gpus(method: Method, at_once: int) -> tuple[str, ...]:
    lines = [f"{at_once:,} tokens in a card's forward pass (finetune.micro_batch_tokens); fewer "
             "take longer"]
    if method == "qlora":
        lines.append("QLoRA unpacks its weights in each pass: the fewer tokens a pass has, the "
                     "slower it is than LoRA")
    return tuple(lines)
