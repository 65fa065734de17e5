"""`export`: from a run of `finetune` to what other software serves, measured on the way."""

from __future__ import annotations

import errno
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3kit.errors import RunError
from phi3kit.export import vllm
from phi3kit.export.gguf_file import Weights, refuse_unsupported, write_gguf
from phi3kit.export.measure import (
    LIMIT,
    Examples,
    Measured,
    doubt,
    encoded,
    measure,
    read_measuring,
    refuse_worse,
    stage,
)
from phi3kit.export.merged import load_unmerged, refuse_whole, write_merged
from phi3kit.export.source import Source, read_source
from phi3kit.export.staging import refuse_unwritable, staged
from phi3kit.files import write_atomic, write_json
from phi3kit.models.hardware import pick_device
from phi3kit.models.out_of_memory import out_of_memory
from phi3kit.progress import note
from phi3kit.records import ExportReport, ExportStage, Target, as_json

if TYPE_CHECKING:
    from phi3kit.dataset.encode import Encoded
    from phi3kit.models.loading import Loaded
    from phi3kit.settings import ModelSettings, Settings


def export(settings: Settings, run: Path, *, to: Target, out: Path | None = None,
           examples: Path | None = None, weights: Weights = "q8_0") -> ExportReport:
    """Write a trained model in another form, load that again and measure it.

    The folder appears when all of it is written and has passed, or not at all.

    Args:
        settings: `model.device`; `model.dtype` for the type to merge in ("auto": the one in
            which the base is stored).
        run: a finished run folder of `finetune`.
        to: "merged" (safetensors), "gguf", "ollama" (GGUF and Modelfile), or "vllm" (the
            command that serves the unmerged adapter).
        out: the folder to write; None: `<run>/export/<to>`. vLLM's command is written only
            where a folder is given.
        examples: what the loss is measured on, examples or questions for `compare`; None: the
            held-out questions of the run's settings, else the last of the examples that it was
            trained on.
        weights: how GGUF holds matrices.

    Raises:
        RunError: no finished run of `finetune`; the loss rises beyond the limit; a full disk.
        ModelError: base or adapter cannot be loaded, or the target does not take such a model.
        DataError: the folder is there already or cannot be made, or there is nothing to measure
            on.
    """
    started = time.perf_counter()
    source = read_source(run, settings)
    if to == "merged":
        refuse_whole(source)
    folder = out or run / "export" / to
    writes = to != "vllm" or out is not None
    if writes:
        refuse_unwritable(folder)
    rank = vllm.served_rank(source.adapter) if to == "vllm" and source.adapter else None
    work = _Work(source, read_measuring(examples, source), to)
    try:
        with out_of_memory(f"exporting {run}", lambda: (
                "Make room, or run the export on a machine with more of it; nothing was written"),
                device=pick_device(settings.model.device)):
            work.measure_trained()
            _write(work, folder if writes else None, weights, rank)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise RunError("the disk is full", where=str(folder),
                       mend="Make room, or write elsewhere with --out; nothing was left "
                            "there") from error
    return _report(work, folder if writes else None, _command(source, to, folder, rank),
                   round(time.perf_counter() - started, 2))


def _write(work: _Work, folder: Path | None, weights: Weights, rank: int | None) -> None:
    """Write the export to `folder` and measure it on the way; None: measure only."""
    if work.to == "vllm" or folder is None:
        _vllm(work, folder, rank)
    elif work.to == "merged":
        with staged(folder) as staging:
            work.merge_into(staging)
            _finish(work, staging)
    else:
        _gguf(work, folder, weights)


def _report(work: _Work, folder: Path | None, command: str, seconds: float) -> ExportReport:
    source, examples = work.source, work.examples
    return ExportReport(
        target=work.to, out=str(folder) if folder else "", run=str(source.run), base=source.base,
        method=source.method, measured_on=str(examples.file), seen=examples.seen,
        examples=len(work.rows), prompts=len(examples.prompts), stages=tuple(work.stages),
        limit=LIMIT, files=tuple(sorted(p.name for p in folder.iterdir())) if folder else (),
        command=command, seconds=seconds, notes=tuple(_notes(source, work)))


@dataclass
class _Work:
    """An export that is under way.

    Attributes:
        rows: the examples' tokens, the same for every form.
        stages: what was measured so far.
        last: the newest measurement.
        said: what turned out on the way.
        doubts: forms whose answers differ more than they should.
    """

    source: Source
    examples: Examples
    to: Target
    rows: list[Encoded] = field(default_factory=list)
    stages: list[ExportStage] = field(default_factory=list)
    last: Measured | None = None
    said: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def measure_trained(self) -> None:
        """The model as it was trained, before anything is done to it."""
        note(f"loading {self.source.base} as it was trained …")
        loaded = load_unmerged(self.source.trained, self.source.adapter)
        if self.to in ("gguf", "ollama"):
            refuse_unsupported(loaded.model.config, loaded.tokenizer, where=self.source.base)
        if self.to == "ollama":
            _modelfile(self.source, loaded)  # refused now, not after minutes
        self.rows = encoded(loaded, self.examples, self.source.max_tokens)
        self.add("as trained", loaded)

    def add(self, name: str, loaded: Loaded) -> None:
        """Measure a form and put it down; worse than allowed ends the export."""
        now = measure(loaded, self.rows, self.examples.prompts, name=name)
        self.stages.append(stage(name, now, self.last))
        self.last = now
        refuse_worse(self.stages)
        if doubted := doubt(self.stages[-1], len(self.examples.prompts)):
            self.doubts.append(doubted)

    def merge_into(self, folder: Path) -> None:
        """Write the merged model, load it again from there and measure it."""
        source = self.source
        note(f"merging into {source.base} ({source.whole.dtype}) …")
        write_merged(source, folder)
        gc.collect()  # the one that was merged, before the next is loaded
        self.add(f"merged ({source.whole.dtype})", load_unmerged(_at(source, folder), None))


def _at(source: Source, folder: Path) -> ModelSettings:
    import msgspec

    return msgspec.structs.replace(source.whole, name=str(folder), revision=None)


def _finish(work: _Work, folder: Path) -> None:
    """Put beside the export what was measured."""
    write_json(folder / "export.json", {
        "run": work.source.run.name, "base": work.source.base, "method": work.source.method,
        "instruction": work.source.instruction, "examples": str(work.examples.file),
        "seen": work.examples.seen, "limit": LIMIT,
        "stages": [as_json(s) for s in work.stages],
        "notes": [*work.doubts, *work.examples.notes, *work.said]})


def _gguf(work: _Work, folder: Path, weights: Weights) -> None:
    """Merge in passing, convert, load the file again and compare it with the merged model."""
    from phi3kit.models.gguf import load_gguf

    name = f"{work.source.run.name}.gguf"
    with staged(folder) as staging:
        merged = staging / "merged"
        merged.mkdir()
        work.merge_into(merged)
        loaded = load_unmerged(_at(work.source, merged), None)
        config, tokenizer = loaded.model.config, loaded.tokenizer
        text = _modelfile(work.source, loaded) if work.to == "ollama" else ""
        write_gguf(merged, staging / name, config=config, tokenizer=tokenizer,
                   model=loaded.model, weights=weights,
                   name=f"{Path(work.source.base).name} {work.source.run.name}")
        device = loaded.device
        del loaded
        _remove(merged)
        again = load_gguf(staging / name, like=config, device=device, name=name)
        work.said += _compare_tokens(tokenizer, again.tokenizer, work.examples.texts)
        # Tokens are those of the merged model throughout: the loss is of the weights.
        again.tokenizer = tokenizer
        work.add(f"GGUF ({weights})", again)
        if text:
            write_atomic(staging / "Modelfile", text)
        _finish(work, staging)


def _remove(folder: Path) -> None:
    import shutil

    gc.collect()
    shutil.rmtree(folder)


def _modelfile(source: Source, loaded: Loaded) -> str:
    from phi3kit.export.ollama import modelfile
    from phi3kit.models.chat import stop_token_ids

    return modelfile(loaded.tokenizer, gguf=f"{source.run.name}.gguf",
                     instruction=source.instruction,
                     stops=stop_token_ids(loaded.tokenizer, loaded.model))


def _compare_tokens(tokenizer: Any, again: Any, texts: Sequence[str]) -> list[str]:
    """Whether the tokenizer in the file cuts the examples' texts as the model's own does.

    Raises:
        RunError: it does not, and nothing explains it.
    """
    def ids(which: Any, text: str) -> list[int]:
        return list(which(text, add_special_tokens=False)["input_ids"])

    other = [text for text in texts if ids(tokenizer, text) != ids(again, text)]
    if other:
        raise RunError(f"the tokenizer in the GGUF file cuts {len(other)} of {len(texts)} texts "
                       f"otherwise than the model's own, for example {other[0][:60]!r}; "
                       "nothing was written", mend="Export --to merged or --to vllm")
    return [f"tokenizer read again: {len(texts)} of {len(texts)} texts give the same tokens"]


def _vllm(work: _Work, folder: Path | None, rank: int | None) -> None:
    """The base in 16 bits with the adapter beside it is what vLLM will compute."""
    source = work.source
    work.add(f"unmerged ({source.whole.dtype})", load_unmerged(source.whole, source.adapter))
    if folder is not None:
        with staged(folder) as staging:
            write_atomic(staging / "serve.sh", f"#!/bin/sh\nexec {vllm.command(source, rank)}\n")
            (staging / "serve.sh").chmod(0o755)
            _finish(work, staging)


def _command(source: Source, to: Target, folder: Path, rank: int | None) -> str:
    import shlex

    where = shlex.quote(str(folder))
    commands: dict[Target, Callable[[], str]] = {
        "merged": lambda: f'phi3kit ask --model {where} --no-rag "…"',
        "gguf": lambda: f"llama-server -m {shlex.quote(str(folder / f'{source.run.name}.gguf'))}",
        "ollama": lambda: (f"cd {where} && ollama create {shlex.quote(source.run.name)} "
                           "-f Modelfile"),
        "vllm": lambda: vllm.command(source, rank),
    }
    return commands[to]()


def _notes(source: Source, work: _Work) -> list[str]:
    notes = [*work.doubts, *work.examples.notes]
    if source.method == "qlora":
        change = work.stages[1].loss - work.stages[0].loss
        notes.append(f"trained on the base in 4-bit NF4, and here on its {source.whole.dtype} "
                     f"weights: the loss changed by {change:+.4f} nats through that")
    if work.examples.seen:
        notes.append("the loss is over examples that the model was trained on; --examples FILE "
                     "measures on others")
    if work.to != "ollama" and source.instruction:
        notes.append(f"send the system message that it was trained with: {source.instruction}")
    return [*notes, *work.said]
