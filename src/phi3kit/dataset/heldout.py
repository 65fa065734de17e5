"""Keeps the questions of `compare` out of the training examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from phi3kit.dataset.examples import Example
from phi3kit.dataset.normal import normal
from phi3kit.errors import DataError
from phi3kit.parsing import read_json
from phi3kit.progress import note
from phi3kit.records import Failure


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A held-out question: its id, its text, and where it stands ("questions.jsonl:12")."""

    id: str
    question: str
    where: str


def read_held_out(path: Path | None) -> tuple[HeldOut, ...]:
    """The questions of a JSON Lines file; none without one.

    Lines that are no questions are passed over: `compare`, whose file it is, reports them.

    Raises:
        DataError: a file is named and cannot be read. A wrong name must not switch off the
            search for what gives questions away.
    """
    if path is None:
        return ()
    found: list[HeldOut] = []
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"the held-out questions cannot be read ({error.strerror})",
                        where=str(path), mend="Set compare.questions (or --questions) to their "
                        "file, or leave it out to train without looking for them") from error
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            record = read_json(line)
            question = record["question"]
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(question, str) and normalise(question):
            found.append(HeldOut(str(record.get("id", number)), question, f"{path}:{number}"))
    return tuple(found)


def held_out(path: Path | None) -> dict[str, str]:
    """Normalised question to where it stands ("questions.jsonl:12"); empty without a file.

    A file without any question is told of, for then nothing is held out.

    Raises:
        DataError: as `read_held_out`.
    """
    found: dict[str, str] = {}
    for item in read_held_out(path):
        found.setdefault(normalise(item.question), item.where)
    if path is not None and not found:
        note(f"{path} holds no question that could be read (one {{…}} with a \"question\" per "
             "line), so no example is held out")
    return found


def without_held_out(examples: Sequence[Example], questions: dict[str, str], *,
                     where: str) -> tuple[list[Example], list[Failure]]:
    """The examples that ask none of the held-out `questions`, and a failure for the others.

    Args:
        questions: as `held_out` gives them.
        where: the examples' file, for the failures.
    """
    kept: list[Example] = []
    leaked: list[Failure] = []
    for example in examples:
        asked = map(normalise, example.asked)
        at = next((questions[text] for text in asked if text in questions), None)
        if at is None:
            kept.append(example)
        else:
            leaked.append(Failure(f"{where}:{example.line}",
                                  f"asks the held-out question of {at}; left out. Remove it "
                                  "from one of the two files"))
    return kept, leaked


def normalise(text: str) -> str:
    """`text` as `normal` gives it; an underscore stands between words too."""
    return normal(text.replace("_", " "))
