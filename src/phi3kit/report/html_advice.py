"""An advice as one page that needs nothing else: no script, no font, nothing from the net."""

from __future__ import annotations

from typing import Any

from phi3kit.records import Advice, Interval
from phi3kit.report import advice_text as words
from phi3kit.report.comparison_text import spread
from phi3kit.report.page import render

_FIRST = 3


def render_advice(advice: Advice) -> str:
    """The page. It holds the whole record; whatever comes from data or answers is escaped."""
    advice = words.cleaned(advice)
    against = words.heaviest_against(advice)
    first = words.foremost(advice, _FIRST)
    return render(
        "advice.html.j2", "advice.css",
        heading=words.heading(advice).capitalize(),
        advice=advice,
        sure=words.sure(advice).capitalize(),
        standing=words.standing(advice),
        shares=[(words.name(option), share, option == words.argued(advice))
                for option, share in advice.scores.items()],
        outcome=words.outcome(advice),
        arms=[_arm(arm, found) for arm, found in words.arms(advice)],
        argued=words.argued(advice),
        first=first,
        against=against,
        rest=[item for item in words.weighed(advice) if item not in (*first, against)],
        reversals=[words.reversal(item) for item in advice.reverse_when],
        costs=words.costs(advice),
        settling=words.settling(advice.settle) if advice.settle else "",
        commands=words.commands(advice),
        methods=words.METHODS,
        word=words.word, signed=words.signed, figure=words.figure)


def _arm(arm: str, found: Interval) -> dict[str, Any]:
    """An arm's figures, and where they stand on an axis from 0 to 100."""
    low, mean, high = (100 * min(max(value, 0.0), 1.0)
                       for value in (found.low, found.mean, found.high))
    return {"name": arm, "spread": spread(found), "low": low, "mean": mean,
            "width": max(high - low, 0.0)}
