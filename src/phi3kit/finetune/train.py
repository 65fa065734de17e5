"""`finetune`: from settings to an adapter in a run folder, reused, resumed or trained."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from phi3kit import runs
from phi3kit.dataset.digest import digest, digest_lines, refuse_findings, refuse_left_out
from phi3kit.dataset.encode import Encoded, encode
from phi3kit.dataset.examples import Example, Examples, read_examples
from phi3kit.dataset.heldout import held_out, without_held_out
from phi3kit.errors import DataError, Phi3kitError, RunError, SettingsError
from phi3kit.finetune import checkpoints, methods, processes, sharding, shares
from phi3kit.finetune.identity import inputs_of, refuse_changed
from phi3kit.finetune.lean import keep_lean
from phi3kit.finetune.passes import pass_here
from phi3kit.finetune.predicted import with_plan
from phi3kit.finetune.processes import Processes
from phi3kit.finetune.refusals import refuse_settings
from phi3kit.finetune.search import Search
from phi3kit.models.hardware import free_memory, pick_device, pick_dtype, release
from phi3kit.progress import note
from phi3kit.records import DataDigest, Failure, Message, TrainReport, as_json
from phi3kit.settings import Resolved, Settings, recorded

if TYPE_CHECKING:
    from phi3kit.models.loading import Loaded

def finetune(settings: Settings, resolved: Resolved | None = None, *,
             fresh: bool = False, resume: Path | None = None,
             strict: bool = False) -> TrainReport:
    """Train an adapter or a whole model; an interrupted run goes on, a finished one is reused.

    Started in several processes (torchrun), all of them call it and all get the report. On a CPU
    the whole process takes its memory from one arena from then on (see `keep_lean`).

    Args:
        settings: `finetune.dataset` has to be set.
        resolved: the same settings with their sources, for the record in run.json.
        fresh: throw away what an earlier run with the same inputs left.
        resume: the run folder that has to go on; None: the one that these inputs lead to.
        strict: stop, before anything is trained, when an example would be left out or cut, is
            close to a held-out question or contradicts another.

    Raises:
        SettingsError: no dataset is named, or settings exclude each other.
        DataError: the dataset cannot be read, none of its examples can be used, or `strict`
            and one of them cannot.
        ModelError: the base is on a server, or cannot be loaded or trained.
        StoreError: passages are asked for and there is no collection.
        RunError: the loss is not finite, the disk is full, another process trains the same
            run, or `resume` was made with other settings or data.
        KeyboardInterrupt: Ctrl-C; a checkpoint of the last whole step is there.
    """
    if settings.finetune.dataset is None:
        raise SettingsError("no dataset", where="finetune.dataset",
                            mend="Give --dataset FILE or set it in phi3kit.yaml")
    if fresh and resume is not None:
        raise SettingsError("--fresh throws away what --resume goes on with", where="--fresh",
                            mend="Leave out one of the two")
    refuse_settings(settings)
    keep_lean(settings.model.device, float32=not settings.finetune.full
              and pick_dtype(settings.model.dtype, "cpu") == "float32")
    team = processes.join(settings.model.device)
    try:
        with processes.quiet_unless_first(team):
            return _finetune(settings, resolved, team, fresh=fresh, resume=resume,
                             strict=strict)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise RunError("the disk is full", where=error.filename or settings.runs,
                       mend=checkpoints.MAKE_ROOM) from error


def _finetune(settings: Settings, resolved: Resolved | None, team: Processes, *,
              fresh: bool, resume: Path | None, strict: bool) -> TrainReport:
    data, kept, failures = usable(settings)
    if strict:
        refuse_left_out(failures)
    with Search(settings, kept, team) as search, contextlib.ExitStack() as held:
        inputs = inputs_of(settings, data, kept, search)
        if resume is not None:
            resume = resume if resume.name else resume.resolve()  # ".": what is saved names the run
            refuse_changed(resume, inputs)
        root = Path(settings.runs)
        folder = resume or runs.folder_of(root, "finetune", inputs)

        def opened() -> runs.Run:
            if resume is not None:  # that very folder, whatever it is called by now
                return runs.Run(resume, runs.read_run(resume))
            return runs.open_run(root, "finetune", inputs, fresh=fresh,
                                 settings=recorded.record(settings, resolved))

        def finished() -> runs.Run | None:
            """The run, if nothing is left to do in it."""
            run = opened() if not fresh and (folder / "run.json").is_file() else None
            return run if run and run.complete and methods.is_saved(run.path) else None

        if (run := team.first(finished)) is not None:
            return _reused(run, team, strict=strict)
        # Before it is opened: what --fresh throws away may be what another process trains.
        team.first(lambda: held.enter_context(runs.held(
            folder, busy="another process is training this run",
            mend="Wait for it, or change --seed")))
        if (run := team.first(finished)) is not None:  # in the meantime
            return _reused(run, team, strict=strict)
        if data.unread:
            note(data.told_unread)
        report = _train(settings, _Place(folder, opened, fresh), kept, failures, data.format,
                        search, team, strict=strict)
        # The Trainer and its model stand in cycles: a card would hold it beside the next model.
        release(pick_device(settings.model.device))
        return report


def usable(settings: Settings) -> tuple[Examples, list[Example], list[Failure]]:
    """What `finetune.dataset` holds, the examples to train on, and why the others are none.

    Raises:
        DataError: it cannot be read, or none of its examples can be used.
    """
    path = Path(settings.finetune.dataset or "")
    data = read_examples(path)
    questions = Path(settings.compare.questions) if settings.compare.questions else None
    kept, leaked = without_held_out(data.examples, held_out(questions), where=str(path))
    failures = [*data.failures, *leaked]
    if not kept:
        why = failures[0].why if failures else "it holds no examples"
        raise DataError(f"none of the {len(failures)} examples can be used; the first: {why}",
                        where=failures[0].where if failures else str(path))
    return data, kept, failures


def _reused(run: runs.Run, team: Processes, *, strict: bool) -> TrainReport:
    if team.leads:
        checkpoints.discard(run.path)  # a kill may have come before that
    note(f"reusing {run.path}: same data, base and settings")
    report = msgspec.convert(run.state["result"], TrainReport)
    if strict:
        refuse_left_out(report.skipped)
        refuse_findings(report.data, where=str(run.path))
    return replace(report, run=str(run.path), reused=True)


class _Row(NamedTuple):
    """An example, the messages it is trained on, and their tokens."""

    example: Example
    chat: Sequence[Message]
    encoded: Encoded


class _Place(NamedTuple):
    """The run folder that is trained in.

    Attributes:
        opened: makes it, or finds what an earlier run left.
        fresh: it is made anew, and the same command would throw it away again.
    """

    folder: Path
    opened: Callable[[], runs.Run]
    fresh: bool


def _train(settings: Settings, place: _Place, examples: Sequence[Example],
           failures: list[Failure], form: str, search: Search, team: Processes, *,
           strict: bool) -> TrainReport:
    """Train in `place`, which is opened when nothing can refuse any more.

    What --fresh throws away is a finished run, perhaps: it stays until there is another one.
    """
    from phi3kit.finetune.session import Session, count_peak
    from phi3kit.models.chat import stop_token_ids
    from phi3kit.models.preflight import preflight

    own = settings.finetune
    messages = search.chats()
    device = pick_device(settings.model.device)
    free = free_memory(device)  # before the base takes its share
    count_peak(device)
    note(f"loading {settings.model.name}{' in 4-bit NF4' if own.qlora else ''} …")
    sharded = sharding.wanted(own, team)
    loaded = methods.load(settings.model, own, sharded=sharded)
    for line in preflight(loaded, own.max_tokens):
        note(line)
    stop_ids = stop_token_ids(loaded.tokenizer, loaded.model)
    limit = min(settings.finetune.max_tokens, loaded.context)
    rows, too_long = _encode_all(settings, examples, messages, loaded, stop_ids, limit)
    if strict:
        refuse_left_out(too_long)
    data = team.first(lambda: _look(settings, rows, loaded, limit))
    if strict:
        refuse_findings(data, where=settings.finetune.dataset or "")
    failures = sorted([*failures, *too_long],
                      key=lambda f: int(f.where.rpartition(":")[2]))
    methods.add_adapter(loaded, own)
    if sharded:
        (shares.share_out if own.full else sharding.shard)(loaded, team, device)
    if not own.full:  # a whole model is read from the same file
        team.begin_alike(loaded.model.parameters())
    begun: list[runs.Run] = []

    def begin() -> None:
        run = team.first(place.opened)
        # A retry of a failed run: the reason of the failure is past.
        begun.append(replace(run, state={k: v for k, v in run.state.items() if k != "why"}))

    session = Session(loaded, [row.encoded for row in rows], own, place.folder, team,
                      begin=begin, fresh=place.fresh,
                      pass_tokens=_pass_tokens(settings, rows, device, free, team))

    def finished() -> TrainReport:
        report = replace(session.report(
            instruction=settings.ask.instruction, format=form, skipped=tuple(failures)),
            data=data)
        report = with_plan(report, settings, loaded, [len(r.encoded.input_ids) for r in rows],
                           session.passes, team)
        begun[0].finish(as_json(report))
        checkpoints.discard(place.folder)
        return report

    try:
        session.train()
        if sharded and own.full:
            shares.put_together(loaded, team)
        return team.first(finished)
    except Phi3kitError as error:
        if team.leads and begun:
            with contextlib.suppress(OSError):  # a full disk: the error itself matters more
                begun[0].fail(str(error))
        raise


def _encode_all(settings: Settings, examples: Sequence[Example],
                messages: Sequence[Sequence[Message]], loaded: Loaded,
                stop_ids: Sequence[int], limit: int) -> tuple[list[_Row], list[Failure]]:
    """Rows for the trainer; examples that do not fit are failures."""
    rows: list[_Row] = []
    failures: list[Failure] = []
    for example, chat in zip(examples, messages, strict=True):
        try:
            rows.append(_Row(example, chat, encode(loaded.tokenizer, chat, stop_ids, limit)))
        except DataError as error:
            failures.append(Failure(f"{settings.finetune.dataset}:{example.line}", str(error)))
    if not rows:
        raise DataError(f"none of the examples fits: {failures[0].why}", where=failures[0].where)
    return rows, failures


def _pass_tokens(settings: Settings, rows: Sequence[_Row], device: str, free: int | None,
                 team: Processes) -> int:
    """Of a forward pass: the same in all processes, for they share out the same micro-batches."""
    longest = max(len(row.encoded.input_ids) for row in rows)
    chosen = pass_here(settings, device, None if free is None else team.least(free),
                       longest=longest, processes=team.size)
    if settings.finetune.micro_batch_tokens is None and device == "cuda":
        note(f"{chosen.tokens:,} tokens in a forward pass: {chosen.why} "
             "(finetune.micro_batch_tokens sets another number)")
    return chosen.tokens


def _look(settings: Settings, rows: Sequence[_Row], loaded: Loaded, limit: int) -> DataDigest:
    """Say in a few lines what is about to be trained on."""
    found = digest(settings, [row.example for row in rows], [row.chat for row in rows],
                   [row.encoded for row in rows], loaded.tokenizer, limit)
    for line in digest_lines(found):
        note(line)
    return found
