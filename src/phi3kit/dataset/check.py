"""What a file of examples holds and what is wrong with it, before a model is trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from phi3kit.dataset import lengths
from phi3kit.dataset.balance import label_balance
from phi3kit.dataset.copies import contradictions, near_copies
from phi3kit.dataset.examples import Example, read_examples
from phi3kit.dataset.heldout import held_out, read_held_out, without_held_out
from phi3kit.dataset.leakage import find_leaks
from phi3kit.dataset.pairs import Pair, as_pair, same_key
from phi3kit.dataset.prompts import chats, with_passages
from phi3kit.errors import ModelError, SettingsError
from phi3kit.models.preflight import look
from phi3kit.records import Conflict, DatasetCheck, Failure, KnownAnswers, Message, Repeat
from phi3kit.settings import Settings

PICTURES = 3


def check(settings: Settings, *, base: bool = False) -> DatasetCheck:
    """Audit `finetune.dataset` against `compare.questions`; nothing is trained.

    The model is looked at as well, as far as it is here and its weights are not needed.

    Args:
        base: also ask the model which answers it gives already, closed book. It is the only
            part that loads the model.

    Raises:
        SettingsError: no dataset is named.
        DataError: the file cannot be read, or holds no examples in a known format.
        ModelError: no such model, or `base` and it cannot be loaded; or its template cannot be
            trained on.
    """
    path, data_questions = named_files(settings)
    data = read_examples(path)
    questions = read_held_out(data_questions)
    kept, leaked = without_held_out(data.examples, held_out(data_questions), where=str(path))
    messages = chats(kept, settings.ask, seed=settings.finetune.seed)
    notes = _notes(settings, kept, data_questions, len(questions))
    if data.unread:
        notes.append(data.told_unread)
    seen = look(settings.model, settings.finetune)
    limit = min(settings.finetune.max_tokens, seen.context or settings.finetune.max_tokens)
    tokenizer = _tokenizer(settings)
    measured = lengths.Measured((), ())
    if tokenizer is None:
        notes.append(f"the tokenizer of {settings.model.name} is not here, so lengths, cuts and "
                     "masks are not known: download the model, or give its folder with --model")
    else:
        measured = lengths.measure(tokenizer, kept, messages, limit, where=str(path))
    too_long = {failure.where for failure in measured.too_long}
    trained = [(e, chat) for e, chat in zip(kept, messages, strict=True)
               if f"{path}:{e.line}" not in too_long]
    return DatasetCheck(
        source=str(path), format=data.format, examples=len(trained),
        skipped=_by_line(data.failures, leaked, measured.too_long),
        lengths=lengths.summary(measured, limit, settings.model.name),
        repeats=repeats(data.examples), conflicts=conflicts(data.examples),
        questions=len(questions), leaks=find_leaks(data.examples, questions),
        labels=label_balance(kept),
        masks=lengths.pictures(tokenizer, measured, PICTURES),
        known=_known(settings, trained) if base else None, notes=tuple(notes),
        control=() if tokenizer is None else tuple(
            kept[at].line for at in lengths.with_control_tokens(tokenizer, messages)),
        preflight=seen, cuts=lengths.cuts(measured))


def named_files(settings: Settings) -> tuple[Path, Path | None]:
    """The examples' file and the held-out questions'.

    Raises:
        SettingsError: no dataset is named.
    """
    if settings.finetune.dataset is None:
        raise SettingsError("no dataset", where="finetune.dataset",
                            mend="Give FILE or set it in phi3kit.yaml")
    questions = settings.compare.questions
    return Path(settings.finetune.dataset), Path(questions) if questions else None


def repeats(examples: Sequence[Example]) -> tuple[Repeat, ...]:
    """Each example that repeats an earlier one, exactly but for blanks, or nearly."""
    pairs = [as_pair(example) for example in examples]
    first: dict[tuple[str, str], int] = {}
    exact = {at: of for at, pair in enumerate(pairs)
             if (of := first.setdefault(same_key(pair), at)) != at}
    once = [at for at in range(len(pairs)) if at not in exact]
    near = {once[at]: once[of] for at, of in enumerate(near_copies([pairs[at] for at in once]))
            if of is not None}
    return tuple(Repeat(examples[at].line, examples[of].line, at in near)
                 for at, of in sorted((exact | near).items()))


def conflicts(examples: Sequence[Example]) -> tuple[Conflict, ...]:
    """Each example with the prompt of another one and a different answer, by line."""
    pairs: list[Pair] = [as_pair(example) for example in examples]
    return tuple(Conflict(example.line, examples[other].line) for example, other
                 in zip(examples, contradictions(pairs), strict=True) if other is not None)


def _notes(settings: Settings, kept: Sequence[Example], questions: Path | None,
           count: int) -> list[str]:
    notes: list[str] = []
    if questions is None:
        notes.append("no held-out questions are named, so leakage is not checked: give "
                     "--questions FILE")
    elif not count:
        notes.append(f"{questions} holds no question that could be read, so leakage is not "
                     "checked")
    share = len(with_passages(kept, settings.finetune.passages, seed=settings.finetune.seed))
    if share:
        notes.append(f"{share:,} examples will carry passages (finetune.passages); lengths and "
                     "masks are shown without them")
    return notes


def _tokenizer(settings: Settings) -> Any | None:
    """The model's tokenizer, if it is here.

    Raises:
        ModelError: there is no such model, or it has no chat template.
    """
    from phi3kit.models.tokenizer import any_tokenizer

    # What a server calls its model tells nothing of a tokenizer here.
    tokenizer = any_tokenizer(settings.model) if settings.model.endpoint is None else None
    if tokenizer is not None and not tokenizer.chat_template:
        raise ModelError("the model has no chat template, so nothing can be trained on it",
                         where=settings.model.name, mend="Use an instruct or chat version of it")
    return tokenizer


def _known(settings: Settings,
           trained: Sequence[tuple[Example, list[Message]]]) -> KnownAnswers:
    from phi3kit.dataset.closed_book import known_answers

    return known_answers(settings, trained)


def _by_line(*failures: Sequence[Failure]) -> tuple[Failure, ...]:
    together = [failure for group in failures for failure in group]
    return tuple(sorted(together, key=lambda f: int(f.where.rpartition(":")[2])))
