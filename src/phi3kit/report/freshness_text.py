"""What became of edited facts, in sentences, shared by the terminal and Markdown reports."""

from __future__ import annotations

from phi3kit.records import Freshness, Interval


def freshness_sentences(freshness: Freshness | None) -> list[str]:
    """What was found, then each arm's shares of the facts; [] where it was not measured."""
    if freshness is None:
        return []
    return [freshness.sentence,
            *(f"{arm.arm}: {_share(arm.updated)} as they are now, {arm.outdated.mean:.0%} as they "
              f"were, {arm.neither.mean:.0%} neither." for arm in freshness.arms)]


def _share(value: Interval) -> str:
    return f"{value.mean:.0%} ({value.low:.0%} to {value.high:.0%})"
