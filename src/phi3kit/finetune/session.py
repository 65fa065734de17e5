"""One training session: resumes, trains, can be interrupted, and tells what it did."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3kit.dataset.encode import Encoded
from phi3kit.files import write_atomic
from phi3kit.finetune import fused
from phi3kit.finetune.trainer import (
    CHECKPOINTS,
    METRICS,
    keep_activations,
    make_trainer,
    newest_checkpoint,
    read_metrics,
    steps_of,
)
from phi3kit.progress import bar, note
from phi3kit.records import Failure, TrainReport

if TYPE_CHECKING:
    from phi3kit.models.loading import Loaded
    from phi3kit.settings import FinetuneSettings


class Session:
    """The training of one run, from its newest checkpoint to its adapter.

    Args:
        loaded: the base with a fresh adapter.
        rows: the encoded examples.
        settings: of `finetune`.
        run: the run folder.
    """

    def __init__(self, loaded: Loaded, rows: Sequence[Encoded], settings: FinetuneSettings,
                 run: Path) -> None:
        self.checkpoints = run / CHECKPOINTS
        self._loaded = loaded
        self._rows = rows
        self._settings = settings
        self._run = run

    def train(self) -> None:
        """Train to the end, or to Ctrl-C.

        Raises:
            KeyboardInterrupt: after Ctrl-C, when the step at hand is done and saved.
            RunError: the loss is not finite.
        """
        start = newest_checkpoint(self._run)
        done = int(start.name.rpartition("-")[2]) if start else 0
        if start:
            note(f"going on from step {done} ({start})")
        # Steps after the checkpoint are done again, and so are their lines.
        lines = read_metrics(self._run, through=done)
        write_atomic(self._run / METRICS, "".join(f"{_line(m)}\n" for m in lines))
        total = steps_of(len(self._rows), self._settings)
        _use_all_cores()
        if self._settings.dropout == 0.0:
            fused.fuse(self._loaded.model)
        try:
            with bar("training", total) as advance:
                advance(done)
                self._run_trainer(start, advance)
        finally:
            keep_activations(self._loaded.model)
            fused.unfuse(self._loaded.model)

    def _run_trainer(self, start: Path | None, advance: Any) -> None:
        def on_step(line: dict[str, Any]) -> None:
            speed = line["tokens"] / max(line["seconds"], 1e-9)
            advance(1, f"loss {line['loss']:.3f}, {speed:,.0f} tokens/s")

        trainer = make_trainer(self._loaded, self._rows, self._settings, self._run, on_step)
        with _interruptible(trainer) as interrupted:
            trainer.train(resume_from_checkpoint=str(start) if start else None)
        if interrupted.is_set():
            raise KeyboardInterrupt

    def report(self, *, instruction: str, format: str, skipped: tuple[Failure, ...],
               ) -> TrainReport:
        """Save the adapter and tell what the run did, resumed parts included."""
        from phi3kit.models.adapters import save

        loaded, metrics = self._loaded, read_metrics(self._run)
        save(loaded, self._run / "adapter", run=self._run.name, instruction=instruction)
        trainable = [p for p in loaded.model.parameters() if p.requires_grad]
        losses = tuple(m["loss"] for m in metrics)
        return TrainReport(
            run=str(self._run), base=loaded.name, base_fingerprint=loaded.fingerprint,
            method="qlora" if loaded.quantization == "nf4" else "lora", format=format,
            examples=len(self._rows), skipped=skipped, epochs=self._settings.epochs,
            steps=len(metrics), tokens=sum(m["tokens"] for m in metrics),
            trained_tokens=sum(m["trained"] for m in metrics), losses=losses,
            final_loss=_last_loss(metrics), trainable_parameters=sum(p.numel() for p in trainable),
            target_modules=_adapted(loaded.model),
            seconds=round(sum(m["seconds"] for m in metrics), 2),
            peak_memory_bytes=_peak_memory(loaded.device))


def _last_loss(metrics: Sequence[dict[str, Any]]) -> float:
    """Mean loss of the trained tokens of the last tenth of the steps: one step is too noisy."""
    last = metrics[-max(1, len(metrics) // 10):]
    trained = sum(m["trained"] for m in last)
    return float(sum(m["loss"] * m["trained"] for m in last) / trained)


def _line(metrics: dict[str, Any]) -> str:
    import json

    return json.dumps(metrics)


def _adapted(model: Any) -> tuple[str, ...]:
    return tuple(sorted({path.rpartition(".")[2] for path, layer in model.named_modules()
                         if "lora_A" in getattr(layer, "_modules", {})}))


def _use_all_cores() -> None:
    """Arithmetic on all cores that this process may use, unless the user said otherwise."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ and hasattr(os, "sched_getaffinity"):
        torch.set_num_threads(len(os.sched_getaffinity(0)))


def _peak_memory(device: str) -> int:
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    if sys.platform == "win32":
        import psutil  # comes with accelerate

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def _interruptible(trainer: Any) -> Iterator[threading.Event]:
    """Ctrl-C ends training after the step at hand, with a checkpoint; a second one at once.

    Yields:
        An event that is set when training was interrupted.
    """
    from transformers import TrainerCallback

    interrupted = threading.Event()

    class SaveAndStop(TrainerCallback):  # type: ignore[misc]
        """Asks the Trainer for a checkpoint and to stop."""

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            if interrupted.is_set():
                control.should_save = control.should_training_stop = True
            return control

    def on_signal(number: int, frame: Any) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()
        note("stopping after this step, to save it (Ctrl-C again: at once) …")

    trainer.add_callback(SaveAndStop())
    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # signals are the main thread's
        return
    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
