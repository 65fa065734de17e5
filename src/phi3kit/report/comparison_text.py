"""What a comparison says in words, shared by the terminal, Markdown and HTML reports."""

from __future__ import annotations

import math

from phi3kit.records import ArmSummary, Comparison, Difference, Interval
from phi3kit.report.choice_text import choice_sentences, gate_sentences
from phi3kit.report.costs_text import cost_sentences
from phi3kit.report.form_text import form_sentences, harm_sentences
from phi3kit.report.freshness_text import freshness_sentences
from phi3kit.report.learning_text import learning_sentences
from phi3kit.report.seeds_text import seed_sentences, seeds_would_tell
from phi3kit.report.statistics_text import (
    detectable_sentences,
    effect_sentences,
    likely_best_sentences,
)
from phi3kit.wording import in_seconds, listed

METRIC_NAMES = {
    "score": "score", "token_f1": "token F1", "exact_match": "exact match",
    "contains": "contains", "abstention": "abstention", "hit_at_k": "hit@k",
    "citation_precision": "citation precision", "citation_recall": "citation recall",
    "span_f1": "best span's F1", "rouge_l": "ROUGE-L", "chrf": "chrF",
    "label_accuracy": "label accuracy", "label_macro_f1": "label macro F1",
    "format_valid": "valid form", "term_recall": "terms used", "similarity": "similarity",
    "abstention_precision": "abstention precision", "abstention_recall": "abstention recall",
    "fabricated_citations": "fabricated citations",
    "unsupported_numbers": "unsupported numbers", "length_ratio": "length ratio",
}
METRIC_MEANINGS = {
    "score": "exact label for closed kinds, abstention for unanswerable questions, token F1 "
             "for the rest",
    "token_f1": "shared words with the right answer; a long right answer is punished",
    "exact_match": "nothing but the right answer",
    "contains": "the right answer stands in the output, however long that is",
    "abstention": "says that it does not know exactly when there is no answer",
    "hit_at_k": "a passage of the right document was in the prompt",
    "citation_precision": "cited passages that are of the right document",
    "citation_recall": "documents with the answer that are cited",
    "span_f1": "token F1 of the answer's best span, whatever stands around it",
    "rouge_l": "longest common run of words, gaps allowed",
    "chrf": "shared runs of characters",
    "label_accuracy": "the right label, where answers are labels",
    "label_macro_f1": "F1 of the labels, each counting alike",
    "format_valid": "the answer has the form that was asked for",
    "term_recall": "terms of a good answer that are used",
    "similarity": "cosine similarity to the right answer, by an embedder",
    "abstention_precision": "abstentions that were right",
    "abstention_recall": "questions without an answer on which it abstains",
    "fabricated_citations": "answers that cite a passage which is not there; less is better",
    "unsupported_numbers": "answers with a number that no passage has; less is better",
    "length_ratio": "words for each word of the right answer; about 1 is best",
}
# A lead on a kind of question smaller than this is not worth a sentence.
_WORTH_SAYING = 0.005


def number(value: float) -> str:
    """Two decimals, with a true minus; never "−0.00". No end is "∞"."""
    text = "∞" if math.isinf(value) else f"{abs(value):.2f}"
    return f"−{text}" if value < 0 and text != "0.00" else text


def spread(interval: Interval) -> str:
    """An interval as "0.41 (0.33 to 0.49)"."""
    return f"{number(interval.mean)} ({number(interval.low)} to {number(interval.high)})"


def p_value(p: float) -> str:
    """A p-value to three decimals, or "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def ranked(comparison: Comparison) -> list[ArmSummary]:
    """The arms, best first on the deciding metric."""
    return sorted(comparison.arms,
                  key=lambda arm: -arm.metrics[comparison.verdict.metric].mean)


def metrics_of(comparison: Comparison) -> list[str]:
    """The metrics that some arm has, the deciding one first."""
    decides = comparison.verdict.metric
    return [decides, *(name for name in METRIC_NAMES if name != decides
                       and any(name in arm.metrics for arm in comparison.arms))]


def kinds_of(comparison: Comparison) -> list[str]:
    """The kinds of question, in the order of the questions."""
    return list(dict.fromkeys(kind for arm in comparison.arms for kind in arm.by_kind))


def sorted_differences(comparison: Comparison) -> list[Difference]:
    """The differences, each turned so that the better arm stands first, largest first."""
    turned = []
    for item in comparison.differences:
        seen = item.difference
        if seen.mean < 0:
            item = Difference(item.b, item.a, Interval(-seen.mean, -seen.high, -seen.low), item.p,
                              item.spread, item.error)
        turned.append(item)
    return sorted(turned, key=lambda item: -item.difference.mean)


def findings(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """(heading, sentences) for someone who decides: how sure, why, what would change it, cost."""
    sections = [
        ("Do the gates hold?", gate_sentences(comparison)),
        ("What do the weights say?", choice_sentences(comparison)),
        ("How sure is that?", _how_sure(comparison)),
        ("Why?", _why(comparison) + form_sentences(comparison) + effect_sentences(comparison)),
        ("What do they do that they should not?", harm_sentences(comparison)),
        ("What do the diagnostic arms tell?", [d.sentence for d in comparison.diagnoses]),
        ("What would change it?", _what_would_change_it(comparison)),
        ("What when facts change?", freshness_sentences(comparison.freshness)),
        ("Would more examples pay?", learning_sentences(comparison.learning)),
        ("What does an answer cost?", _cost(comparison) + cost_sentences(comparison.costs)),
    ]
    return [(heading, sentences) for heading, sentences in sections if sentences]


def _how_sure(comparison: Comparison) -> list[str]:
    best = ranked(comparison)[0]
    verdict = comparison.verdict
    level = f"{comparison.confidence * 100:g}%"
    basis = (f"{best.questions} questions in {comparison.clusters} groups by source document, "
             f"each asked of {len(comparison.arms)} arms under the same conditions.")
    if verdict.enough:
        sure = (f"{verdict.winner} is the simplest option whose {level} intervals against every "
                f"other lie above −{verdict.margin:g}: a lead of {verdict.margin:g} was "
                "said not to be worth another part (compare.margin).")
    elif verdict.winner:
        sure = (f"Every other arm is behind {verdict.winner} at {level} confidence, after "
                "adjusting for the number of pairs compared (Holm).")
    else:
        behind = [arm.arm for arm in comparison.arms if arm.arm not in verdict.contenders]
        sure = (f"At {level} confidence nothing separates {listed(verdict.contenders)}"
                + (f"; {listed(behind)} {'is' if len(behind) == 1 else 'are'} behind."
                   if behind else "."))
    errors = sum(arm.errors for arm in comparison.arms)
    failed = [f"{errors} answers failed and count as wrong; to run compare again asks for them "
              "again, but for questions that are too long."] if errors > 1 else (
        ["1 answer failed and counts as wrong; to run compare again asks for it again, unless "
         "the question is too long."] if errors else [])
    return [sure, basis, *seed_sentences(comparison), *failed, *likely_best_sentences(comparison),
            *detectable_sentences(comparison)]


def _why(comparison: Comparison) -> list[str]:
    sentences = [f"{arm} leads on {listed(kinds)}."
                 for arm, kinds in _leaders(comparison).items()]
    by_contains = sorted((arm for arm in comparison.arms if "contains" in arm.metrics),
                         key=lambda arm: -arm.metrics["contains"].mean)
    if comparison.verdict.metric != "contains" and by_contains:
        most, best = by_contains[0], ranked(comparison)[0]
        if most.metrics["contains"].mean > best.metrics["contains"].mean:
            sentences.append(
                f"Some of the lead of {best.arm} is form: the right answer stands more often in "
                f"the output of {most.arm} ({number(most.metrics['contains'].mean)} of its answers "
                f"against {number(best.metrics['contains'].mean)}), but in more words.")
        else:
            sentences.append(
                f"It is not form alone: the right answer stands in "
                f"{number(best.metrics['contains'].mean)} of the answers of {best.arm}, and in "
                "no other arm's more often.")
    return sentences


def _leaders(comparison: Comparison) -> dict[str, list[str]]:
    """Kinds of question by the arm that leads on them, where one does."""
    leaders: dict[str, list[str]] = {}
    for kind in kinds_of(comparison):
        means = sorted(((arm.by_kind.get(kind, 0.0), arm.arm) for arm in comparison.arms),
                       reverse=True)
        if means[0][0] - means[1][0] > _WORTH_SAYING:
            leaders.setdefault(means[0][1], []).append(kind)
    return leaders


def _what_would_change_it(comparison: Comparison) -> list[str]:
    verdict, best = comparison.verdict, ranked(comparison)[0]
    sentences = []
    if verdict.questions_needed:
        sentences.append(f"More questions: about {verdict.questions_needed} instead of "
                         f"{best.questions}, about new documents too.")
    sentences += seeds_would_tell(comparison)
    for arm, kinds in _leaders(comparison).items():
        if arm != best.arm:
            sentences.append(f"Another mix of questions: with many more of {listed(kinds)}, "
                             f"{arm} may come out ahead.")
    found = [arm for arm in comparison.arms if "hit_at_k" in arm.metrics]
    if found and found[0].metrics["hit_at_k"].mean < 0.95:
        rate = found[0].metrics["hit_at_k"].mean
        sentences.append(
            f"Better retrieval: the right document was among the passages for {rate:.0%} of the "
            f"questions that have one; {listed([arm.arm for arm in found])} can gain on the "
            "rest.")
    return sentences


def _cost(comparison: Comparison) -> list[str]:
    arms = ranked(comparison)
    cheapest = min(arms, key=lambda arm: arm.seconds / arm.questions)
    best = arms[0]
    sentences = [f"{best.arm}: {per_answer(best.tokens_in, best)} prompt and "
                 f"{per_answer(best.tokens_out, best)} answer tokens, "
                 f"{in_seconds(best.seconds / best.questions)} of this machine."]
    if cheapest.arm != best.arm and cheapest.seconds > 0:
        times = best.seconds / cheapest.seconds
        sentences.append(f"That is {times:.1f} times the time of {cheapest.arm}, the fastest.")
    return sentences


def per_answer(total: float, arm: ArmSummary) -> str:
    """A total shared out by questions, without decimals."""
    return f"{total / arm.questions:.0f}"
