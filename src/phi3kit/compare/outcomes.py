"""What an answer to an edited fact shows, and what such answers amount to by arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from phi3kit.compare.edits import Edit
from phi3kit.compare.intervals import Method, interval
from phi3kit.compare.words import contains, plain
from phi3kit.records import Arm, FreshArm, Freshness, Row
from phi3kit.wording import in_seconds

_OUTCOMES = ("updated", "outdated", "neither")


def outcome(output: str, edit: Edit) -> str:
    """ "updated", "outdated" or "neither": which fact stands in the answer.

    One that has both, as "not 40 but 25", still has the old one.
    """
    text = plain(output, (*edit.outdated, *edit.answers))
    # What both facts share ("the Pelican" of "Pelican") is no sign of the old one.
    old = [answer for answer in edit.outdated if not contains(edit.new, [answer])]
    if contains(text, old):
        return "outdated"
    return "updated" if contains(text, edit.answers) else "neither"


def freshness_of(rows: Sequence[Row], edits: Sequence[Edit], arms: Sequence[Arm], method: Method,
                 *, chunks: int, seconds: float, tune_seconds: float | None) -> Freshness:
    """The record that the answers to edited facts amount to.

    Args:
        rows: every arm's answer to the question of each edit.
        edits: at least one.
        arms: those that can win.
        method: level, resamples and seed of the intervals, clustered by edited document.
        chunks: embedded for the edits, in `seconds`.
        tune_seconds: of the adapters' training; None where no run tells.
    """
    by_question = {edit.question.id: edit for edit in edits}
    found = tuple(_arm(arm, [row for row in rows if row.arm == arm], by_question, method)
                  for arm in arms)
    documents = len({edit.source for edit in edits})
    sentence = _sentence(found, len(edits), documents, chunks, seconds, tune_seconds)
    return Freshness(len(edits), documents, found, chunks, seconds, tune_seconds, sentence)


def _arm(arm: Arm, rows: Sequence[Row], edits: Mapping[str, Edit], method: Method) -> FreshArm:
    seen = [(edits[row.question_id].source,
             "neither" if row.error else outcome(row.output, edits[row.question_id]))
            for row in rows]
    return FreshArm(arm, *(interval([(source, float(what == wanted)) for source, what in seen],
                                    method) for wanted in _OUTCOMES))


def _sentence(arms: Sequence[FreshArm], facts: int, documents: int, chunks: int, seconds: float,
              tune_seconds: float | None) -> str:
    # Shares alone: facts are few, and all of them alike would make an interval of no width.
    ranked = sorted(arms, key=lambda arm: -arm.updated.mean)
    said = (f"Of {facts} fact{'' if facts == 1 else 's'} changed after training, so many are "
            "answered as they are now: "
            + ", ".join(f"{arm.arm} {arm.updated.mean:.0%}" for arm in ranked) + ".")
    again = (f" Ingesting the {documents} changed document{'' if documents == 1 else 's'} took "
             f"{in_seconds(seconds)} ({chunks} chunk{'' if chunks == 1 else 's'} embedded)")
    return said + again + ("." if tune_seconds is None else
                           f"; training took {in_seconds(tune_seconds)}.")
