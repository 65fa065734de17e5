"""Effects, chances of being best, reach and McNemar's counts in words, for all reports."""

from __future__ import annotations

from collections.abc import Sequence

from phi3kit.records import Comparison, Discordance

DISCORDANCE_HEAD = ("metric", "arms", "only the first", "only the second", "both", "neither",
                    "p (McNemar)")
DISCORDANCE_NOTE = ("McNemar's exact test takes questions for independent, which questions about "
                    "one document are not; the test that decides does not. Not adjusted for the "
                    "number of pairs.")
# Of the yes/no metrics, the one to show where there is room for one and another kind decides.
_FOREMOST = ("contains", "label_accuracy", "exact_match", "abstention", "format_valid")
# Of likely_best: below this nobody would bet on it, and it is not listed.
_WORTH_LISTING = 0.005


def effect_sentences(comparison: Comparison) -> list[str]:
    """What retrieving and tuning add, and their interaction; [] unless all options ran."""
    return [effect.sentence for effect in comparison.effects]


def likely_best_sentences(comparison: Comparison) -> list[str]:
    """How often each option comes out best when the documents are drawn again; [] if unknown."""
    likely = sorted(comparison.likely_best.items(), key=lambda item: -item[1])
    shares = [f"{arm} is the best in {_percent(share)}" for arm, share in likely
              if share >= _WORTH_LISTING]
    what = "documents and the training seeds" if comparison.seeds else "documents"
    return [f"With the {what} drawn again, {', '.join(shares)} of the draws."] if shares else []


def detectable_sentences(comparison: Comparison) -> list[str]:
    """The smallest lead that so many questions would show; [] where none can be named."""
    reach = comparison.detectable
    if reach is None or reach.difference is None:
        return []
    questions = next(arm.questions for arm in comparison.arms if arm.arm == reach.a)
    with_seeds = max((len(each.adapters) for each in comparison.seeds
                      if each.arm in (reach.a, reach.b)), default=0)
    seeds = f", with {with_seeds} training seeds," if with_seeds else ""
    return [f"{questions} questions about {comparison.clusters} documents{seeds} show a true lead "
            f"of {reach.difference:.2f} of {reach.a} over {reach.b} {reach.power:.0%} of the time; "
            "a smaller one is missed more often."]


def discordance_rows(comparison: Comparison) -> list[list[str]]:
    """Cells under DISCORDANCE_HEAD: how many questions which arms have right, and the p-value."""
    return [[found.metric.replace("_", " "), f"{found.a}, {found.b}", str(found.only_a),
             str(found.only_b), str(found.both), str(found.neither), discordance_p(found)]
            for found in comparison.discordances]


def foremost_discordances(comparison: Comparison) -> tuple[str, Sequence[Discordance]]:
    """The counts on one yes/no metric: the deciding one, else that most like a right answer.

    Returns:
        Its name in words, and a count for each pair of arms; ("", ()) without any counts.
    """
    measured = {found.metric for found in comparison.discordances}
    metric = next((name for name in (comparison.verdict.metric, *_FOREMOST) if name in measured),
                  "")
    return metric.replace("_", " "), [found for found in comparison.discordances
                                      if found.metric == metric]


def discordance_p(found: Discordance) -> str:
    """Its p-value to three decimals, or "< 0.001"."""
    return "< 0.001" if found.p < 0.001 else f"{found.p:.3f}"


def _percent(share: float) -> str:
    """A share without decimals; never "100%" of what is not all."""
    text = f"{share:.0%}"
    return "over 99%" if text == "100%" and share < 1 else text
