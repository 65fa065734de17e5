"""What the arms that cannot win tell about those that can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from phi3kit.compare.intervals import Method, interval
from phi3kit.compare.seeds import Part, parts
from phi3kit.records import Arm, Diagnosis, Interval, Option, Row, TrainingSeeds


@dataclass(frozen=True, slots=True)
class _Test:
    """One arm held against another, and what follows when it is ahead or behind beyond doubt.

    `{arm}` and `{against}` in the sentences are the two means, `{gap}` what lies between.
    """

    arm: Arm
    against: Option
    ahead: tuple[str, str]
    behind: tuple[str, str]


_TESTS = (
    _Test("few-shot", "base",
          ("examples_help", "Examples in the prompt take base from {against} to {arm}, without "
                            "any training: put them there."),
          ("examples_hurt", "Examples in the prompt take base from {against} down to {arm}: this "
                            "model is better asked without.")),
    _Test("few-shot", "finetune",
          ("examples_suffice", "The training examples do more in the prompt ({arm}) than in an "
                               "adapter ({against})."),
          ("training_pays", "Training gets {gap} more out of the examples ({against}) than "
                            "showing the nearest ones in the prompt ({arm}).")),
    _Test("oracle-rag", "rag",
          ("mend_retrieval", "Given the right passages, rag goes from {against} to {arm}: mending "
                             "the retrieval is worth up to {gap}."),
          ("oracle_behind", "Passages of the right documents alone do worse ({arm}) than what is "
                            "found ({against}): source_ids do not name all that helps.")),
    _Test("oracle-rag", "both",
          ("reading_suffices", "With the right passages the untuned model does better ({arm}) "
                               "than the tuned one with what is found ({against}): retrieval is "
                               "what is missing."),
          ("tuning", "Even with the right passages the untuned model gets {arm}, and the tuned "
                     "one {against} with what is found: that speaks for tuning.")),
    _Test("bolted-on", "both",
          ("tune_without_passages", "The adapter tuned without passages reads them better "
                                    "({arm}) than the one tuned with them ({against})."),
          ("tune_with_passages", "An adapter tuned without passages and shown some gets {arm}, "
                                 "one tuned with them {against}: tune with what it will see.")),
    _Test("bolted-on", "finetune",
          ("passages_help", "Passages take the adapter that was tuned without them from "
                            "{against} to {arm}."),
          ("passages_hurt", "Passages take the adapter that was tuned without them from "
                            "{against} down to {arm}.")),
    _Test("full-context", "rag",
          ("show_everything", "With all documents in the prompt rag goes from {against} to "
                              "{arm}: while they fit, show them all."),
          ("search_helps", "All documents in the prompt do worse ({arm}) than what is found "
                           "({against}): searching also keeps out what distracts.")),
)
_UNCLEAR = "{names}: {arm} against {against}, which these questions do not tell apart."


def diagnose(rows: Sequence[Row], metric: str, method: Method,
             seeds: Sequence[TrainingSeeds] = ()) -> tuple[Diagnosis, ...]:
    """What each diagnostic arm in `rows` tells, one finding for each arm that it is held against.

    A finding needs an interval of the paired difference that leaves out zero; the intervals
    are each on their own, and not adjusted for being several.
    """
    worth: dict[str, dict[str, float]] = {}
    for row in rows:
        worth.setdefault(row.arm, {})[row.question_id] = row.metrics[metric]
    cluster = {row.question_id: row.cluster for row in rows}
    return tuple(_diagnosis(test, worth, cluster, method, parts(seeds, [
        (test.arm, metric, 1.0), (test.against, metric, -1.0)])) for test in _TESTS
                 if test.arm in worth and test.against in worth)


def _diagnosis(test: _Test, worth: Mapping[str, Mapping[str, float]],
               cluster: Mapping[str, str], method: Method,
               seeds: Sequence[Part]) -> Diagnosis:
    own, other = worth[test.arm], worth[test.against]
    seen = interval([(cluster[key], own[key] - other[key]) for key in own], method,
                    bounds=(-1.0, 1.0), seeds=seeds)
    finding, sentence = _reading(test, seen)
    figures = {"arm": f"{_mean(own):.2f}", "against": f"{_mean(other):.2f}",
               "gap": f"{abs(seen.mean):.2f}", "names": f"{test.arm} and {test.against}"}
    return Diagnosis(test.arm, test.against, seen, finding, sentence.format(**figures))


def _reading(test: _Test, seen: Interval) -> tuple[str, str]:
    if seen.low > 0:
        return test.ahead
    if seen.high < 0:
        return test.behind
    return "unclear", _UNCLEAR


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)
