"""One training session: resumes, trains, can be interrupted, and tells what it did."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3kit.dataset.encode import Encoded
from phi3kit.finetune import checkpoints, fused, methods, metrics
from phi3kit.finetune.attention import short_rows
from phi3kit.finetune.batches import padded_width
from phi3kit.finetune.elementwise import fewer_passes
from phi3kit.finetune.lanes import Lanes, Micro
from phi3kit.finetune.lean import settled
from phi3kit.finetune.packing import is_laid_out
from phi3kit.finetune.passes_made import AtOnce, computed
from phi3kit.finetune.processes import ALONE, Processes
from phi3kit.finetune.smaller import smaller
from phi3kit.finetune.trainer import keep_activations, make_trainer, steps_of
from phi3kit.models.attention import repeated
from phi3kit.models.hardware import emulates
from phi3kit.models.out_of_memory import out_of_memory
from phi3kit.progress import bar, note
from phi3kit.records import Failure, TrainReport
from phi3kit.runs import cores

if TYPE_CHECKING:
    from phi3kit.models.loading import Loaded
    from phi3kit.settings import FinetuneSettings


class Session:
    """The training of one run, from its newest checkpoint to its adapter.

    Args:
        loaded: the base with a fresh adapter, or the model that trains whole.
        rows: the encoded examples.
        settings: of `finetune`.
        run: the run folder.
        team: the processes that train it together.
        begin: called before the first file of the run is read or written, when nothing can
            refuse to be trained any more.
        fresh: the run is made anew: the same command would throw away what is saved.
        pass_tokens: that one forward pass may hold.

    Attributes:
        passes: what this process computed at once.
    """

    def __init__(self, loaded: Loaded, rows: Sequence[Encoded], settings: FinetuneSettings,
                 run: Path, team: Processes = ALONE, *, begin: Callable[[], None],
                 pass_tokens: int, fresh: bool = False) -> None:
        self._begin = begin
        self._fresh = fresh
        self._pass_tokens = pass_tokens
        self._team = team
        self._loaded = loaded
        self._rows = rows
        self._settings = settings
        self._run = run
        self.passes: set[AtOnce] = set()

    def train(self) -> None:
        """Train to the end, or to Ctrl-C.

        Raises:
            KeyboardInterrupt: after Ctrl-C, when the step at hand is done and saved.
            RunError: the loss is not finite.
            ModelError: the examples are to be packed, and the model cannot keep them apart;
                OutOfMemoryError, which is one too, when a pass does not fit.
        """
        longest = padded_width(max(len(row.input_ids) for row in self._rows))
        fullest = max(longest, min(self._pass_tokens, self._settings.batch_size * longest))
        device = self._loaded.device
        with out_of_memory(f"training with passes of {fullest:,} tokens", lambda: smaller(
                self._settings, self._run, held=self._pass_tokens, fullest=fullest,
                longest=longest, device=device, fresh=self._fresh,
                emulated=emulates(self._loaded.dtype, device)), device=device):
            self._train()

    def _train(self) -> None:
        total = steps_of(len(self._rows), self._settings)
        _use_all_cores()
        if self._settings.dropout == 0.0:
            fused.fuse(self._loaded.model)
        lean = contextlib.nullcontext() if self._settings.full else fewer_passes(
            self._loaded.model)
        try:
            with short_rows(self._loaded.model), repeated(self._loaded.model), lean:
                with methods.arithmetic(self._loaded, self._settings):
                    packed = is_laid_out(self._loaded, self._rows, self._settings)
                self._begin()
                start, done = self._going_on()
                with settled(), bar("training", total) as advance:
                    advance(done)
                    self._run_trainer(start, advance, packed=packed)
        finally:
            keep_activations(self._loaded.model)
            fused.unfuse(self._loaded.model)

    def _going_on(self) -> tuple[Path | None, int]:
        """The checkpoint that the run goes on from, and its steps; None and 0 at a beginning."""
        start = self._team.first(lambda: checkpoints.newest(self._run))
        done = checkpoints.step_of(start) if start else 0
        if start:
            note(f"going on from step {done} ({start})")
        if self._team.leads:
            # Steps after the checkpoint are done again, and so are their lines.
            metrics.cut(self._run, through=done)
        return start, done

    def _run_trainer(self, start: Path | None, advance: Any, *, packed: bool) -> None:
        def on_step(line: dict[str, Any]) -> None:
            speed = line["tokens"] / max(line["seconds"], 1e-9)
            memory = _peak_memory(self._loaded.device) / 2**30
            advance(1, f"loss {line['loss']:.3f}, {speed:,.0f} tokens/s, {memory:.1f} GiB")

        trainer = make_trainer(self._loaded, self._rows, self._settings, self._run, on_step,
                               self._team, pass_tokens=self._pass_tokens, packed=packed,
                               on_micro=self._note_passes)
        with _interruptible(trainer, self._team) as interrupted:
            trainer.train(resume_from_checkpoint=str(start) if start else None)
        if interrupted.is_set():
            note(f"step {trainer.state.global_step:,} is saved in {self._run}: the same command "
                 f"{'without --fresh ' if self._fresh else ''}goes on from it")
            raise KeyboardInterrupt

    def _note_passes(self, micro: Sequence[Micro], lanes: Lanes | None) -> None:
        self.passes |= computed(micro, lanes, device=self._loaded.device)

    def report(self, *, instruction: str, format: str, skipped: tuple[Failure, ...],
               ) -> TrainReport:
        """Save what was trained and tell what the run did, resumed parts included."""
        loaded, lines = self._loaded, metrics.read(self._run)
        trainable = [p for p in loaded.model.parameters() if p.requires_grad]
        adapted = _adapted(loaded.model)
        with checkpoints.explained("what was trained", self._run):
            methods.save(loaded, self._settings, self._run, instruction=instruction)
        losses = tuple(m["loss"] for m in lines)
        return TrainReport(
            run=str(self._run), base=loaded.name, base_fingerprint=loaded.fingerprint,
            method=methods.method(self._settings), variants=methods.variants(self._settings),
            format=format, examples=len(self._rows), skipped=skipped,
            epochs=self._settings.epochs, steps=len(lines),
            tokens=sum(m["tokens"] for m in lines),
            trained_tokens=sum(m["trained"] for m in lines), losses=losses,
            final_loss=_last_loss(lines), trainable_parameters=sum(p.numel() for p in trainable),
            target_modules=adapted, seconds=round(sum(m["seconds"] for m in lines), 2),
            peak_memory_bytes=_peak_memory(loaded.device),
            micro_batch_tokens=self._pass_tokens)


def _last_loss(lines: Sequence[dict[str, Any]]) -> float:
    """Mean loss of the trained tokens of the last tenth of the steps: one step is too noisy."""
    last = lines[-max(1, len(lines) // 10):]
    trained = sum(m["trained"] for m in last)
    return float(sum(m["loss"] * m["trained"] for m in last) / trained)


def _adapted(model: Any) -> tuple[str, ...]:
    return tuple(sorted({path.rpartition(".")[2] for path, layer in model.named_modules()
                         if "lora_A" in getattr(layer, "_modules", {})}))


def _use_all_cores() -> None:
    """Arithmetic on all cores that this process may use, unless the user said otherwise."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(cores())


def count_peak(device: str) -> None:
    """Count a card's peak memory from here on; that of a process cannot be counted anew."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()


def _peak_memory(device: str) -> int:
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    if sys.platform == "win32":
        import psutil  # comes with accelerate

        return int(psutil.Process().memory_info().peak_wset)
    status = Path("/proc/self/status")
    if status.is_file():  # what getrusage tells there may be the peak of who started this process
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def _interruptible(trainer: Any, team: Processes) -> Iterator[threading.Event]:
    """Ctrl-C ends training after the step at hand, with a checkpoint; a second one at once.

    Yields:
        An event that is set when training was interrupted.
    """
    from phi3kit.finetune.callbacks import SaveAndStop

    interrupted = threading.Event()

    def on_signal(number: int, frame: Any) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()
        note("stopping after this step, to save it (Ctrl-C again: at once) …")

    trainer.add_callback(SaveAndStop(team, interrupted))
    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # signals are the main thread's
        return
    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
