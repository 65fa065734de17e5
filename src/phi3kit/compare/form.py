"""How much of a tuned arm's lead is form: few words around the answer, and not a better answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from phi3kit.compare.intervals import Method, interval
from phi3kit.compare.seeds import parts
from phi3kit.records import FormShare, Interval, Option, Row, TrainingSeeds

_TUNED: tuple[Option, ...] = ("finetune", "both")
_UNTUNED: tuple[Option, ...] = ("base", "rag")
_NEEDED = ("token_f1", "span_f1", "contains")
_SOME = 0.005  # a smaller share would be said to be 0%


def form_shares(rows: Sequence[Row], method: Method,
                seeds: Sequence[TrainingSeeds] = ()) -> tuple[FormShare, ...]:
    """For each tuned arm against each untuned one, the part of its lead that is form.

    Token F1 counts the words around a right answer against it. `overlap.span_f1` forgives
    them, and what of the lead vanishes with it is what the words made: form. A long output
    has a good stretch by luck too, so that this part is an upper bound; the difference in
    `contains`, which knows no luck but asks for the gold answer word for word, stands beside.
    """
    arms: dict[str, dict[str, Row]] = {}
    for row in rows:
        if all(name in row.metrics for name in _NEEDED):
            arms.setdefault(row.arm, {})[row.question_id] = row
    return tuple(_share(a, b, arms[a], arms[b], method, seeds)
                 for a in _TUNED for b in _UNTUNED if a in arms and b in arms)


def _share(a: Option, b: Option, own: Mapping[str, Row], other: Mapping[str, Row],
           method: Method, seeds: Sequence[TrainingSeeds]) -> FormShare:
    def over(*names: str) -> Interval:
        """The first measure's difference, less that of the second if there is one."""
        signs = (1, -1)
        return interval([(own[key].cluster, sum(
            sign * (own[key].metrics[name] - other[key].metrics[name])
            for sign, name in zip(signs, names, strict=False))) for key in own],
            method, bounds=(-1.0, 1.0), seeds=parts(seeds, [
                (arm, name, side * sign) for name, sign in zip(names, signs, strict=False)
                for arm, side in ((a, 1.0), (b, -1.0))]))

    lead, rest, inside = (over(name) for name in _NEEDED)
    form = over("token_f1", "span_f1")
    share = min(1.0, max(0.0, form.mean / lead.mean)) if lead.low > 0 else None
    return FormShare(a, b, lead, rest, inside, form, share,
                     _sentence(a, b, lead, inside, share))


def _sentence(a: str, b: str, lead: Interval, inside: Interval, share: float | None) -> str:
    if share is None:
        return f"{a} does not lead {b} in token F1 beyond doubt."
    if inside.low > 0:
        knows = f"the right answer stands in its output more often too, by {inside.mean:.2f}"
    elif inside.high < 0:
        knows = f"the right answer stands in its output less often, by {-inside.mean:.2f}"
    else:
        knows = "the right answer stands in the output of either about as often"
    led = f"{a} leads {b} by {lead.mean:.2f} in token F1"
    if share < _SOME:
        return f"{led}; none of that is form, and {knows}."
    return (f"{led}; up to {share:.0%} of that is form, for it goes when the words around the "
            f"answer are forgiven, and {knows}.")
