"""What makes a training take less memory: said where it has ended, the nearest way first."""

from __future__ import annotations

from pathlib import Path

from phi3kit.finetune import checkpoints
from phi3kit.settings import FinetuneSettings


def smaller(own: FinetuneSettings, run: Path, *, held: int, fullest: int, longest: int,
            device: str, emulated: bool = False, fresh: bool = False) -> str:
    """The settings to change, as a sentence without a full stop.

    First those that leave the result as it is, so that the run goes on from its checkpoint.

    Args:
        run: the run folder.
        held: tokens that a pass may hold.
        fullest: tokens of the fullest pass.
        longest: tokens of the longest row, which is a pass of its own if need be.
        device: "cpu", "cuda" or "mps".
        emulated: the card has no hardware for the arithmetic, see `methods.load`.
        fresh: the run was made anew with --fresh, which would throw it away again.
    """
    same, other = [], []
    if fullest > longest:
        now = f"{held} now{'' if own.micro_batch_tokens else ', chosen by the device'}"
        same.append(f"finetune.micro_batch_tokens to {max(fullest // 2, longest)} ({now})")
    if not own.checkpointing:
        same.append("finetune.checkpointing to true")
    if own.full:
        other.append("leaving out --full")
    elif device == "cuda" and not own.qlora:  # on a CPU it takes more, see finetune.qlora
        other.append("--qlora")
    if emulated:
        other.append("model.dtype: auto, for this card emulates bfloat16")
    other.append(f"a finetune.max_tokens below {longest} ({own.max_tokens} now)")
    kept = checkpoints.newest(run)
    going_on = (f"the run then goes on from step {checkpoints.step_of(kept)}"
                f"{', without --fresh' if fresh else ''}" if kept else "")
    return "; ".join(filter(None, (
        f"Set {' or '.join(same)}" if same else "", going_on if same else "",
        f"{'else t' if same else 'T'}ry {' or '.join(other)}", "`phi3kit plan` tells what fits")))
