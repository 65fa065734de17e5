"""A finished comparison taken into the advice: what was measured goes before what was argued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from phi3kit.advise.at_hand import AtHand
from phi3kit.advise.commands import RETRIEVING, TUNED
from phi3kit.advise.commands import compare as compare_command
from phi3kit.advise.scenario import word
from phi3kit.advise.settle import settle
from phi3kit.records import OPTIONS, Advice, ArmSummary, Comparison, MeasuredRun, Option, Settle
from phi3kit.wording import in_seconds

# Median seconds, times the fastest option's, from which speed is worth a line.
_SLOW = 1.25


def take_in(argued: Advice, comparison: Comparison, at_hand: AtHand) -> Advice:
    """The advice once `comparison` has its say.

    - A winner is recommended, and that is decided: with the comparison's own level as
      confidence.
    - Not decidable: what the rules argue stands while it is among the contenders, else the best
      contender takes its place. Among n contenders it is right once in n, so far as was
      measured.
    - What the rules argue did not run, or the winner lacks what the answers require: the
      winner is named, and nothing is decided.

    Args:
        argued: what the rules say.
        comparison: read back from its run folder.
        at_hand: names for the command that would settle it.
    """
    seen = _measured_run(argued, comparison)
    best = seen.winner or seen.contenders[0]
    untried = argued.recommendation not in seen.arms
    keeps = seen.winner is None and argued.recommendation in seen.contenders
    recommended = argued.recommendation if keeps else best
    lacking = _lacks(recommended, argued.scenario)
    sure = (argued.confidence if keeps else comparison.confidence if seen.winner else
            1 / len(seen.contenders))
    return replace(
        argued, recommendation=recommended, confidence=round(sure, 4),
        decided=seen.winner is not None and not untried and not lacking,
        basis="argued" if keeps else "measured", comparison=seen,
        # Other answers change what the rules argue, not what was measured.
        reverse_when=argued.reverse_when if keeps else (),
        settle=_settle(argued, comparison, seen, at_hand))


def to_do_first(advice: Advice) -> Option:
    """The option to set up: the recommended one, or the best measured that has what it lacks."""
    seen = advice.comparison
    if seen is None or not _lacks(advice.recommendation, advice.scenario):
        return advice.recommendation
    return _best_retrieving(seen.arms) or advice.recommendation


def _measured_run(argued: Advice, comparison: Comparison) -> MeasuredRun:
    metric = comparison.verdict.metric
    ranked = sorted(comparison.arms, key=lambda arm: -arm.metrics[metric].mean)
    arms = {arm.arm: arm.metrics[metric] for arm in ranked}
    contenders = tuple(_option(arm) for arm in comparison.verdict.contenders)
    winner = comparison.verdict.winner
    best = winner or contenders[0]
    lines = [*_lacks(best, argued.scenario)]
    other = _best_retrieving(arms)
    if lines and other is not None:
        lines.append(f"of the options that retrieve, {other} has {arms[other].mean:.2f} on "
                     f"{metric}, {best} {arms[best].mean:.2f}")
    if argued.recommendation not in arms:
        lines.append(f"{argued.recommendation}, which the rules argue for, did not run")
    lines += _slower(best, ranked, argued.scenario)
    return MeasuredRun(
        run=comparison.run, metric=metric, winner=winner, contenders=contenders, arms=arms,
        questions=ranked[0].questions, clusters=comparison.clusters,
        argued=argued.recommendation, requirements=tuple(lines))


def _lacks(option: Option, scenario: Mapping[str, Any]) -> tuple[str, ...]:
    """What the answers require and `option` cannot give, whatever it scored."""
    if option in RETRIEVING:
        return ()
    lines = []
    if scenario.get("citations") == "required":
        lines.append(f"citations = required, and {option} has no source to show")
    change = scenario.get("facts_change")
    # Facts that come with the request are as fresh as the request.
    if change in ("weekly", "daily") and scenario.get("external_facts") != "none":
        lines.append(f"facts_change = {change}, and {option} knows what it was trained on")
    return tuple(lines)


def _slower(option: Option, ranked: Sequence[ArmSummary],
            scenario: Mapping[str, Any]) -> list[str]:
    """A line when answers must be fast and others were clearly faster."""
    seconds = {arm.arm: arm.latency_p50 for arm in ranked}
    fastest = min(seconds, key=lambda arm: seconds[arm])
    if not scenario.get("latency_sensitive") or seconds[option] <= _SLOW * seconds[fastest]:
        return []
    return [f"latency_sensitive = {word(True)}: {option} took {in_seconds(seconds[option])} an "
            f"answer (median), {fastest} {in_seconds(seconds[fastest])}"]


def _settle(argued: Advice, comparison: Comparison, seen: MeasuredRun,
            at_hand: AtHand) -> Settle | None:
    """The comparison that would still have to be made; None when this one suffices."""
    open_arms = [seen.winner] if seen.winner else list(seen.contenders)
    missing: Option | None = None
    if argued.recommendation not in seen.arms:
        missing = argued.recommendation
    elif seen.winner and _lacks(seen.winner, argued.scenario):
        # The winner with retrieval added: it may have the score and what is required.
        with_passages: Option = "both" if seen.winner in TUNED else "rag"
        missing = with_passages if with_passages not in seen.arms else None
    if missing is not None:
        open_arms.append(missing)
    if len(open_arms) < 2:
        return None
    settling = settle(open_arms, at_hand)
    ran = [option for option in OPTIONS if option in seen.arms or option == missing]
    if missing is not None:
        return replace(settling, command=compare_command(ran, at_hand),
                       how=f"{missing} has not been measured yet. {settling.how}")
    needed = comparison.verdict.questions_needed
    if needed is not None:
        lead = seen.arms[open_arms[0]].mean - seen.arms[open_arms[1]].mean
        return replace(settling, questions=needed, difference=round(lead, 4),
                       how=f"Counted from the comparison's own {seen.questions} questions: "
                           f"{comparison.verdict.sentence}")
    if settling.questions <= seen.questions:
        return None  # so many have not told them apart: nor would more
    return replace(settling, how=f"{comparison.verdict.sentence} {settling.how}")


def _best_retrieving(arms: Mapping[str, Any]) -> Option | None:
    """The best retrieving option of `arms`, which has the best first; None without any."""
    return next((option for arm in arms for option in RETRIEVING if option == arm), None)


def _option(arm: str) -> Option:
    return next(option for option in OPTIONS if option == arm)
