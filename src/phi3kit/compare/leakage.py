"""Held-out questions that the adapter was trained on would measure memory: they stop the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3kit.compare.metrics import closed_kinds
from phi3kit.compare.words import contains
from phi3kit.errors import DataError, RunError
from phi3kit.files import sha256_file
from phi3kit.records import Leak, Question
from phi3kit.runs import read_run, recorded_path
from phi3kit.settings.recorded import flat

if TYPE_CHECKING:
    from phi3kit.dataset.examples import Example

# How many questions an error names before it counts the rest.
_NAMED = 10
# Surest first.
_HOW = {"exact": "the same words", "13-gram": "13 words in a row", "near": "nearly the same words"}


def refuse_leakage(adapter: Path, questions: Sequence[Question]) -> tuple[str, ...]:
    """Stop when the adapter's training examples give a held-out question away.

    They do when one asks it or has all of it in its text (case, punctuation, spacing and
    passages around it do not count), and when one shares 13 words in a row with it alone, or
    asks nearly the same, and is answered with its answer. With another answer it is another
    question after all ("… in Hull?", "… in Leith?"), and among a few labels the same one tells
    nothing: those are named in the notes.

    Returns:
        What has to be known: examples that are nearly questions, or that nothing could be
        checked, for the training data cannot be read any more or were changed since.

    Raises:
        DataError: names the questions' ids, the examples' file and their lines.
    """
    state = training_run(adapter)
    dataset = state and _dataset(adapter, state)
    if not state or not dataset:
        return (f"{adapter}: its training data are not known; leakage cannot be checked",)
    trained = training_data(adapter, state)
    if trained is None:
        return (f"{dataset}: missing, or changed since the adapter was trained; leakage cannot be "
                "checked",)
    leaks, near = _leaks(trained, questions)
    if leaks:
        raise DataError(
            f"{len(leaks)} held-out {'question was' if len(leaks) == 1 else 'questions were'} "
            f"trained on: {_named(leaks)}", where=str(dataset),
            mend="Take them out of the questions, or train without them")
    return (f"{dataset}: examples ask nearly what {len(near)} held-out "
            f"{'question asks' if len(near) == 1 else 'questions ask'}, with another answer or a "
            f"label: {_named(near)}; read them, for what was trained on measures memory",
            ) if near else ()


def _leaks(trained: Sequence[Example],
           questions: Sequence[Question]) -> tuple[list[Leak], list[Leak]]:
    """What gives questions away, and what is only near: for each question the surest example."""
    from phi3kit.dataset.heldout import HeldOut
    from phi3kit.dataset.leakage import find_leaks

    asked = {question.id: question for question in questions}
    examples = {example.line: example for example in trained}
    closed = closed_kinds(questions)

    def gives_away(leak: Leak) -> bool:
        question, turns = asked[leak.question_id], examples[leak.line].messages
        if leak.how == "exact" or any(contains(m["content"], [question.question])
                                      for m in turns):
            return True
        answers = "\n".join(m["content"] for m in turns if m["role"] == "assistant")
        return question.kind not in closed and bool(contains(answers, question.answers))

    sure: dict[str, Leak] = {}
    near: dict[str, Leak] = {}
    found = find_leaks(trained, [HeldOut(q.id, q.question, "") for q in questions])
    for leak in sorted(found, key=lambda leak: list(_HOW).index(leak.how)):
        (sure if gives_away(leak) else near).setdefault(leak.question_id, leak)
    return list(sure.values()), [leak for key, leak in near.items() if key not in sure]


def _named(leaks: Sequence[Leak]) -> str:
    more = f" and {len(leaks) - _NAMED} more" if len(leaks) > _NAMED else ""
    return ", ".join(f"{leak.question_id} (line {leak.line}, {_HOW[leak.how]})"
                     for leak in leaks[:_NAMED]) + more


def training_run(adapter: Path) -> dict[str, Any] | None:
    """run.json of the folder that the adapter lies in; None when it came from elsewhere."""
    try:
        return read_run(adapter.parent)
    except RunError:
        return None


def training_data(adapter: Path, state: dict[str, Any]) -> list[Example] | None:
    """The examples that an adapter was trained on; None when they are gone or were changed since.

    Args:
        adapter: its folder; `state` is run.json of the run that it lies in.
    """
    dataset = _dataset(adapter, state)
    if dataset is None or not dataset.is_file() or (
            sha256_file(dataset) != state["inputs"].get("dataset")):
        return None
    from phi3kit.dataset.examples import read_examples

    # What training itself left out does not count. By line: the file was named from the folder
    # that the run was made in, and may lie elsewhere by now.
    skipped = {str(failure.get("where")).rpartition(":")[2]
               for failure in (state["result"] or {}).get("skipped", ())}
    return [example for example in read_examples(dataset).examples
            if str(example.line) not in skipped]


def _dataset(adapter: Path, state: dict[str, Any]) -> Path | None:
    name = flat(state).get("finetune.dataset")
    return recorded_path(adapter.parent, state, name) if name else None
