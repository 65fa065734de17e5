"""Held-out questions that the adapter was trained on would measure memory: they stop the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3kit.errors import DataError, RunError
from phi3kit.files import sha256_file
from phi3kit.progress import note
from phi3kit.records import Question
from phi3kit.runs import read_run

if TYPE_CHECKING:
    from phi3kit.dataset.examples import Example

# How many ids an error names before it counts the rest.
_NAMED = 10


def refuse_leakage(adapter: Path, questions: Sequence[Question]) -> None:
    """Stop when a question stands, word for word, among the adapter's training examples.

    Case, punctuation and spacing do not count, nor passages around the question. Where the
    training data cannot be read any more, or were changed since, that is said on stderr:
    nothing was checked then.

    Raises:
        DataError: names the questions' ids and the examples' file.
    """
    state = training_run(adapter)
    dataset = state and _dataset(state)
    if not state or not dataset:
        note(f"{adapter}: its training data are not known; leakage cannot be checked")
        return
    trained = training_data(state)
    if trained is None:
        note(f"{dataset}: missing, or changed since the adapter was trained; leakage cannot be "
             "checked")
        return
    from phi3kit.dataset.leakage import leaked_ids

    leaked = leaked_ids(questions, trained)
    if leaked:
        more = f" and {len(leaked) - _NAMED} more" if len(leaked) > _NAMED else ""
        raise DataError(
            f"{len(leaked)} held-out {'question was' if len(leaked) == 1 else 'questions were'} "
            f"trained on: {', '.join(leaked[:_NAMED])}{more}", where=str(dataset),
            mend="Take them out of the questions, or train without them")


def training_run(adapter: Path) -> dict[str, Any] | None:
    """run.json of the folder that the adapter lies in; None when it came from elsewhere."""
    try:
        return read_run(adapter.parent)
    except RunError:
        return None


def training_data(state: dict[str, Any]) -> list[Example] | None:
    """The examples that a run was trained on; None when they are gone or were changed since."""
    dataset = _dataset(state)
    if dataset is None or not dataset.is_file() or (
            sha256_file(dataset) != state["inputs"].get("dataset")):
        return None
    from phi3kit.dataset.examples import read_examples

    # What training itself left out does not count.
    skipped = {str(failure.get("where")) for failure in (state["result"] or {}).get("skipped", ())}
    return [example for example in read_examples(dataset).examples
            if f"{dataset}:{example.line}" not in skipped]


def _dataset(state: dict[str, Any]) -> Path | None:
    settings = state.get("settings", {})
    value = settings.get("finetune.dataset", {}).get("value") or (
        settings.get("values", {}).get("finetune", {}).get("dataset"))
    return Path(value) if value else None
