"""Questions to be answered by arms, and the answers so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from phi3kit.compare.arms import contestants
from phi3kit.compare.formats import Formats
from phi3kit.compare.questions import read_questions
from phi3kit.compare.results import ROWS, row_of, score
from phi3kit.compare.rows import RowFile
from phi3kit.compare.task import Task, general_file
from phi3kit.files import sha256_file
from phi3kit.progress import Advance
from phi3kit.records import Answer, Arm, Question, Row

# An arm, and which of its adapters answers.
Turn = tuple[Arm, int]


@dataclass(frozen=True, slots=True)
class Sheet:
    """Which arms answer which questions, and the file that keeps their answers.

    Attributes:
        seeds: adapters by arm, where there are several: each answers every question.
    """

    name: str
    arms: tuple[Arm, ...]
    questions: tuple[Question, ...]
    file: RowFile
    formats: Formats = field(default_factory=dict)
    seeds: Mapping[Arm, int] = field(default_factory=dict)

    def turns(self) -> list[Turn]:
        """Every arm with each of its seeds, in order."""
        return [(arm, seed) for arm in self.arms for seed in range(self.seeds.get(arm, 1))]

    def missing(self) -> Mapping[Turn, list[Question]]:
        """What is still to be asked: what was not yet, and what got no answer."""
        rows = self.file.rows
        return {(arm, seed): [q for q in self.questions
                              if (row := rows.get((arm, seed, q.id))) is None or _lost(row)]
                for arm, seed in self.turns()}

    def keeper(self, turn: Turn, questions: Sequence[Question],
               advance: Advance) -> Callable[[list[int], list[Answer]], None]:
        """What puts answers to `questions`, told by their indices, into the file."""
        arm, seed = turn

        def keep(indices: list[int], answers: list[Answer]) -> None:
            rows = [row_of(arm, questions[i], found, seed)
                    for i, found in zip(indices, answers, strict=True)]
            self.file.append(score(rows, self.questions, self.formats))
            advance(len(rows))

        return keep

    def rows(self) -> list[Row]:
        """Every answer, by arm, seed and question."""
        return [self.file.rows[arm, seed, question.id] for arm, seed in self.turns()
                for question in self.questions]

    def rescored(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        """`rows`, which are all of them, with their metrics computed anew, and written back."""
        found = score(rows, self.questions, self.formats)
        self.file.rewrite(found)
        return found


def _lost(row: Row) -> bool:
    """Whether a prompt was made and not answered: by a busy server, or for want of memory.

    A question that no prompt was made of, for it is too long, would be refused again.
    """
    return bool(row.error) and row.tokens_in > 0


def held_out_sheet(task: Task, run: Path) -> Sheet:
    """The held-out questions, for every arm."""
    return Sheet("", task.arms, task.questions, RowFile(run / ROWS), task.formats,
                 task.adapters.seeds())


def general_sheet(task: Task, run: Path) -> Sheet | None:
    """The general questions, for the base and the arms that can win; None without any.

    Their file is named by the questions' content: others are asked anew.

    Raises:
        DataError: they cannot be read.
    """
    path = general_file(task.settings)
    if path is None:
        return None
    questions = read_questions(path)
    arms: tuple[Arm, ...] = tuple(dict.fromkeys(("base", *contestants(task.arms))))
    file = RowFile(run / f"general-{sha256_file(path)[:12]}.jsonl")
    return Sheet("general questions, ", arms, questions, file, seeds=task.adapters.seeds())
