"""In short, what a lead is made of and what the arms do that they should not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from phi3kit.records import Comparison, FormShare, Harm, Interval

# Metrics that punish words around a right answer: only a lead in these can be form.
_PUNISHING = ("score", "token_f1", "exact_match", "rouge_l", "chrf")
# From this share on a lead is mostly form.
_MOSTLY = 0.5
# A harm is worth a sentence when its interval is above 0 and its mean is at least so much.
_NOTABLE = 0.05
_HARMS: Sequence[tuple[str, Callable[[Harm], Interval | None]]] = (
    ("Answers to questions that have no answer", lambda harm: harm.answered_unanswerable),
    ("Answers that cite a passage which is not there", lambda harm: harm.fabricated_citations),
    ("Answers with a number that no passage has", lambda harm: harm.unsupported_numbers),
    ("Forgotten, of the general questions that base answers right", lambda harm: harm.forgotten))


def form_sentences(comparison: Comparison) -> list[str]:
    """How much of the best arm's lead is form, and which other leads mostly are.

    The best arm's is told over the better one of those that are not tuned. [] where the metric
    that decides forgives form, and where no tuned arm leads beyond doubt.
    """
    metric = comparison.verdict.metric
    if metric not in _PUNISHING:
        return []
    means = {arm.arm: arm.metrics[metric].mean for arm in comparison.arms}
    best: str = comparison.verdict.winner or max(means, key=lambda arm: means[arm])
    known = sorted((form for form in comparison.forms if form.share is not None
                    and form.a in means and form.b in means), key=lambda form: -means[form.b])
    said = [form.sentence for form in known if form.a == best][:1]
    mostly = [f"{form.a} over {form.b}, {form.share:.0%}" for form in known
              if form.a != best and _mostly(form)]
    if mostly:
        said.append(f"Mostly form, for it goes when the words around the answer are forgiven: "
                    f"the lead of {'; of '.join(mostly)}.")
    return said


def _mostly(form: FormShare) -> bool:
    return form.share is not None and form.share >= _MOSTLY


def harm_sentences(comparison: Comparison) -> list[str]:
    """Each harm with the arms that do it notably, worst first; [] where none does."""
    said = []
    for name, part in _HARMS:
        found = [(harm.arm, share) for harm in comparison.harms
                 if (share := part(harm)) is not None
                 and share.low > 0 and share.mean >= _NOTABLE]
        if found:
            worst = sorted(found, key=lambda item: -item[1].mean)
            said.append(f"{name}: "
                        + ", ".join(f"{arm} {share.mean:.0%}" for arm, share in worst) + ".")
    return said
