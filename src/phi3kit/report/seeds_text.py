"""What training seeds did to the arms' means, in words, for all reports."""

from __future__ import annotations

from phi3kit.records import Comparison
from phi3kit.wording import listed

TUNED = frozenset({"finetune", "bolted-on", "both"})
# From this share of the variance on, another seed is the larger doubt.
_LARGER = 0.5


def seed_sentences(comparison: Comparison) -> list[str]:
    """Each tuned arm's means by seed, or that there is one seed; [] where nothing is tuned."""
    metric = comparison.verdict.metric
    several = {each.arm: each for each in comparison.seeds}
    said = []
    for each in several.values():
        means = ", ".join(f"{mean:.2f}" for mean in each.means[metric])
        share = "" if each.share is None else (
            f"; the seeds make {_percent(each.share)} of the variance of its mean")
        said.append(f"{each.arm}: {means} over {len(each.adapters)} training seeds{share}.")
    single = [arm.arm for arm in (*comparison.arms, *comparison.diagnostics)
              if arm.arm in TUNED and arm.arm not in several]
    if single:
        said.append(f"{listed(single)} answered with one training seed: how much another would "
                    "change is not in the intervals.")
    return said


def seeds_would_tell(comparison: Comparison) -> list[str]:
    """That more seeds help more than more questions; [] where they do not, or all is settled."""
    verdict = comparison.verdict
    pair = set(verdict.contenders[:2])
    if verdict.winner is not None or len(pair) < 2:
        return []
    spread = next((item.spread for item in comparison.differences
                   if {item.a, item.b} == pair), None)
    if spread is None or spread.seeds == 0:
        return []
    share = spread.seeds ** 2 / (spread.seeds ** 2 + spread.documents ** 2)
    if share < _LARGER:
        return []
    return [f"More training seeds: they make {_percent(share)} of the variance of the difference "
            f"between {listed(verdict.contenders[:2])}, which no question makes smaller."]


def _percent(share: float) -> str:
    """A share without decimals; never "0%" of what is not nothing."""
    return "under 1%" if 0 < share < 0.005 else f"{share:.0%}"
