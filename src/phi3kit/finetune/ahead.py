"""What a training will take, before it is spent: memory, cards, hours and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from msgspec import structs

from phi3kit.dataset.size import dataset_size
from phi3kit.errors import SettingsError
from phi3kit.finetune.batches import padded_width
from phi3kit.finetune.lanes import lanes_here
from phi3kit.finetune.methods import computes_in
from phi3kit.models.hardware import free_memory
from phi3kit.plan.cards import GB
from phi3kit.plan.gpus import Gpu, find_gpu, of_memory
from phi3kit.plan.memory import plan_memory
from phi3kit.plan.passes import Pass, choose_pass, with_uncounted
from phi3kit.plan.shapes import Shape, shape_of
from phi3kit.plan.step import METHODS, Method, Place
from phi3kit.plan.time import plan_times
from phi3kit.records import DatasetSize, TrainingPlan
from phi3kit.settings import FinetuneSettings, Settings

TOKENS_PER_EXAMPLE = 300  # prompt and answer, where nobody says


def plan_training(values: Settings, *, methods: Sequence[Method] = METHODS,
                  gpu: str | None = None, gpu_memory: float | None = None, gpus: int = 1,
                  examples: int | None = None,
                  tokens_per_example: int = TOKENS_PER_EXAMPLE,
                  hours: bool = False, price: float | None = None,
                  batch: int | None = None) -> TrainingPlan:
    """Memory of each method, and hours and cost where a dataset or its size is known.

    Args:
        values: model, adapter and dataset; with `model.device: cpu` the plan is for a process.
            A forward pass has rows of `finetune.max_tokens`, as many as `finetune` would put
            into one on such a card.
        methods: to plan for.
        gpu: the name of a card, in place of `gpu_memory`, in GB.
        gpus: how many such cards there are.
        examples: how many there will be, of `tokens_per_example`, which `finetune.max_tokens` cuts;
            stands in for the dataset.
        hours: whether `finetune.dataset` is counted even if neither card nor price ask for it.
        price: of an hour of a card; of the machine, where the plan is for a process.
        batch: rows per forward pass, in place of those of `finetune`.

    Raises:
        ModelError: the model's shape is not known.
        SettingsError: no such card; a card for a CPU's plan; several cards or a price, and no
            card named; more cards than a batch has rows.
        DataError: the dataset cannot be counted.
    """
    place: Place = "cpu" if values.model.device == "cpu" else "gpu"
    _refuse_unnamed(place, gpu, gpu_memory, gpus, price)
    shape = shape_of(values.model.name, values.model.revision)
    own = values.finetune
    cards: tuple[Gpu, ...] = ()
    if gpu:
        cards = (find_gpu(gpu),)
    elif gpu_memory and place == "gpu":
        cards = of_memory(gpu_memory)
    memory = float(cards[0].memory_gb) if gpu else gpu_memory
    held = {name: Pass(own.max_tokens * batch, "") if batch else _at_once(
        values, name, shape, place=place, memory_gb=memory, cards=gpus) for name in methods}
    in_float32 = _in_float32(values.model.dtype, methods, place)
    plans = []
    for name, at_once in held.items():
        context, rows = fullest_pass(own, at_once.tokens, place)
        made = plan_memory(
            shape, name, context=context, batch=batch or rows, rank=own.rank,
            checkpointing=own.checkpointing, place=place, gpu_memory_gb=memory, gpus=gpus,
            float32=name in in_float32,
            lanes=_lanes(own, name, at_once.tokens) if place == "cpu" else 1)
        plans.append(made if batch or own.micro_batch_tokens else replace(
            made, assumptions=(*made.assumptions, _told(name, at_once))))
    size = _size(values, examples, tokens_per_example,
                 counted=hours or gpu is not None or price is not None)
    if size is not None and gpus > own.batch_size:
        raise SettingsError(f"{gpus} cards, and {own.batch_size} examples in a batch "
                            "to share out", where="finetune.batch_size",
                            mend=f"Set it to {gpus} or more, or plan for fewer --gpus")
    times = [] if size is None else plan_times(
        shape, methods, size, own, gpus=cards, price=price, together=gpus,
        most_tokens={name: at_once.tokens for name, at_once in held.items()},
        in_float32=in_float32 if place == "cpu" else ())
    return with_uncounted(TrainingPlan(
        plans=tuple(plans), times=tuple(times), dataset=size, memory_gb=memory,
        card=cards[0].name if gpu else "", price=price, gpus=gpus), own)


def _refuse_unnamed(place: Place, gpu: str | None, gpu_memory: float | None, gpus: int,
                    price: float | None) -> None:
    """Tell of cards and prices that do not go together, before anything is counted."""
    if place == "cpu" and gpu is not None:
        raise SettingsError(f"a plan for a CPU, and the card '{gpu}'", where="model.device",
                            mend="Leave out one of --device cpu and --gpu")
    if gpus > 1 and gpu is None and (gpu_memory is None or place == "cpu"):
        raise SettingsError(f"{gpus} cards, and it is not said which", where="--gpus",
                            mend="Name the card with --gpu or its memory with --gpu-memory")
    if price is not None and place == "gpu" and gpu is None and gpu_memory is None:
        raise SettingsError("the price of a card's hour, and hours on two CPU cores, for no card "
                            "is named", where="--price",
                            mend="Name the card with --gpu or its memory with --gpu-memory; where "
                                 "a CPU trains, say --device cpu")


def _in_float32(dtype: str, methods: Sequence[Method], place: Place) -> set[Method]:
    """The methods that would not compute in 16 bits. A card that is only planned for has them."""
    if place == "gpu":
        return set(methods) if dtype == "float32" else set()
    return {name for name in methods
            if computes_in(dtype, place, full=name == "full") == "float32"}


def _lanes(own: FinetuneSettings, method: Method, tokens: int) -> int:
    """How many compute the fullest pass on the CPU here; a row too long for one is alone."""
    lanes = lanes_here(full=method == "full", dropout=own.dropout)
    return min(lanes, own.batch_size) if own.max_tokens <= tokens // lanes else 1


def fullest_pass(own: FinetuneSettings, tokens: int, place: Place) -> tuple[int, int]:
    """(tokens per row, rows) of the fullest forward pass that `finetune` may make.

    Args:
        own: the settings of the training.
        tokens: that a pass may hold.
        place: on a CPU rows that lie end to end are computed each by itself.
    """
    if own.packing and place == "gpu":  # its examples end to end in one row
        longest = min(tokens, own.batch_size * own.max_tokens)
        return max(own.max_tokens, longest), 1
    fitting = tokens // padded_width(own.max_tokens)
    return own.max_tokens, max(1, min(own.batch_size, fitting))


def _at_once(values: Settings, method: Method, shape: Shape, *, place: Place,
             memory_gb: float | None, cards: int) -> Pass:
    """What a pass holds; with `--shard` where the training does not fit one of several cards."""
    memory = None if memory_gb is None else memory_gb * GB
    own, lanes = values.finetune, 1
    longest = padded_width(own.max_tokens)
    if place == "cpu":
        full = method == "full"
        lanes = lanes_here(full=full, dropout=own.dropout)
        memory = free_memory("cpu") if memory is None else memory / 2  # as `finetune` does
        values = structs.replace(values, model=structs.replace(
            values.model, dtype=computes_in(values.model.dtype, place, full=full)))
    alone = choose_pass(values, method, shape, longest=longest, place=place, memory=memory,
                        cards=cards, lanes=lanes)
    if cards == 1 or alone.fits:
        return alone
    return choose_pass(values, method, shape, longest=longest, place=place, memory=memory,
                       cards=cards, shared=True)


def _told(method: Method, at_once: Pass) -> str:
    return (f"{at_once.tokens:,} tokens in a pass of {method}: {at_once.why} "
            "(finetune.micro_batch_tokens)")


def _size(values: Settings, examples: int | None, tokens_per_example: int, *,
          counted: bool) -> DatasetSize | None:
    """Of the dataset as it is given, or else of the file when it has to be counted."""
    if examples is not None:
        row = min(tokens_per_example, values.finetune.max_tokens)
        how = "as given" if row == tokens_per_example else (
            f"as given; what is beyond finetune.max_tokens, {row:,} of {tokens_per_example:,}, is "
            "not trained on")
        return DatasetSize(source="", examples=examples, tokens=examples * row, longest=row,
                           how=how)
    if values.finetune.dataset is None or not counted:
        return None
    return dataset_size(values)
