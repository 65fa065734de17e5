"""A comparison's sections after the arms: the same sentences and tables for HTML and Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from phi3kit.records import ArmSummary, Comparison, Interval
from phi3kit.report import comparison_text as words
from phi3kit.report import statistics_text as statistics
from phi3kit.report.costs_table import cost_table
from phi3kit.report.costs_text import volume
from phi3kit.wording import in_seconds

_ABSENT = "–"
# What a diagnostic arm is looked at for, beside the deciding metric.
_BESIDE = ("contains", "abstention", "hit_at_k", "citation_precision")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of plain texts.

    Attributes:
        caption: what it shows, in a line.
        head: one cell for each column.
        rows: cells under `head`; the first of each names its row.
        text: indices of further columns that hold words rather than figures.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """What is known about one matter.

    Attributes:
        id: its name within the page, and in `html.PLOTS`.
        sentences: said before the tables; `notes` after them.
    """

    id: str
    heading: str
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()


def sections(comparison: Comparison) -> list[Section]:
    """Those that the comparison has anything for, in the order of the page."""
    made = (make(comparison) for make in _SECTIONS)
    return [section for section in made if section is not None]


def _choice(comparison: Comparison) -> Section | None:
    choice = comparison.choice
    if choice is None:
        return None
    criteria = list(choice.weights)
    standings = Table(
        "Options by your weights, best first; parts from 0 (worst) to 1 (best)",
        ["option", "weighted", *(f"{name} ({choice.weights[name]:.0%})" for name in criteria),
         "ahead in draws"],
        [[standing.arm, words.number(standing.utility),
          *(words.number(standing.parts[name]) if name in standing.parts else _ABSENT
            for name in criteria), f"{standing.likely_best:.0%}"]
         for standing in choice.standings])
    switches = Table(
        "Where another share of a criterion changes the choice",
        ["criterion", "share now", "switches at", "then"],
        [[switch.criterion, f"{switch.now:.0%}", f"{switch.at:.0%}", switch.then]
         for switch in choice.switches], text=(3,))
    return Section("choice", "By your weights", [choice.sentence, *choice.notes],
                   [table for table in (standings, switches) if table.rows],
                   [*(switch.sentence for switch in choice.switches),
                    *(f"Left out: {why}." for why in choice.left_out)])


def _gates(comparison: Comparison) -> Section | None:
    if not comparison.gates:
        return None
    return Section("gates", "Gates", (), [Table(
        "Conditions that were given", ["condition", "outcome", "value", "what that says"],
        [[gate.condition, gate.outcome, words.spread(gate.value), gate.sentence]
         for gate in comparison.gates], text=(1, 3))])


def _effects(comparison: Comparison) -> Section | None:
    tables = []
    if comparison.effects:
        tables.append(Table(
            f"What each adds to the mean {words.METRIC_NAMES[comparison.verdict.metric]}",
            ["effect of", f"difference ({comparison.confidence * 100:g}%)", "p"],
            [[effect.name, words.spread(effect.difference), words.p_value(effect.p)]
             for effect in comparison.effects]))
    if comparison.likely_best:
        tables.append(Table(
            "How often each is the best when the documents are drawn again", ["option", "best in"],
            [[arm, f"{share:.1%}"] for arm, share in
             sorted(comparison.likely_best.items(), key=lambda item: -item[1])]))
    if comparison.discordances:
        tables.append(Table(
            "Right or wrong, question by question", statistics.DISCORDANCE_HEAD,
            statistics.discordance_rows(comparison), text=(1,)))
    if not tables:
        return None
    return Section("effects", "What retrieving and tuning add",
                   statistics.effect_sentences(comparison), tables,
                   [*statistics.detectable_sentences(comparison),
                    *([statistics.DISCORDANCE_NOTE] if comparison.discordances else [])])


def _documents(comparison: Comparison) -> Section | None:
    """By how many documents an answer needs; None where none needs more than one."""
    needed = sorted({row.documents for row in comparison.rows})
    if max(needed, default=0) < 2:
        return None
    arms, metric = words.ranked(comparison), comparison.verdict.metric
    rows = []
    for count in needed:
        means, asked = [], 0
        for arm in arms:
            worth = [row.metrics[metric] for row in comparison.rows
                     if row.arm == arm.arm and row.documents == count and metric in row.metrics]
            asked = max(asked, len(worth))
            means.append(words.number(sum(worth) / len(worth)) if worth else _ABSENT)
        rows.append([str(count or "none named"), str(asked), *means])
    return Section("documents", "By number of documents needed", (), [Table(
        f"Mean {words.METRIC_NAMES[metric]} by how many documents hold the answer",
        ["documents", "questions", *(arm.arm for arm in arms)], rows)])


def _diagnostics(comparison: Comparison) -> Section | None:
    if not comparison.diagnostics:
        return None
    arms, metric = comparison.diagnostics, comparison.verdict.metric
    names = [name for name in dict.fromkeys((metric, *_BESIDE))
             if any(name in arm.metrics for arm in arms)]
    rows = [[words.METRIC_NAMES[name], *(_spread(arm.metrics.get(name)) for arm in arms)]
            for name in names]
    rows.append(["time per answer", *(in_seconds(_each(arm)) for arm in arms)])
    rows.append(["failed", *(str(arm.errors) for arm in arms)])
    tables = [Table("These cannot win: they tell why", ["", *(arm.arm for arm in arms)], rows)]
    if comparison.diagnoses:
        tables.append(Table(
            "Held against an arm that can win",
            ["arm", "against", f"difference ({comparison.confidence * 100:g}%)"],
            [[d.arm, d.against, words.spread(d.difference)] for d in comparison.diagnoses],
            text=(1,)))
    return Section("diagnostics", "Diagnostic arms",
                   [diagnosis.sentence for diagnosis in comparison.diagnoses], tables)


def _freshness(comparison: Comparison) -> Section | None:
    found = comparison.freshness
    if found is None:
        return None
    return Section("freshness", "When facts change", [found.sentence], [Table(
        f"Shares of {found.facts} facts that were edited after training, in {found.documents} "
        "documents",
        ["arm", "as it is now", "as it was", "neither"],
        [[arm.arm, *(words.spread(share) for share in (arm.updated, arm.outdated, arm.neither))]
         for arm in found.arms])], [
        f"Embedding {found.chunks} chunks anew took {in_seconds(found.seconds)}"
        + (f"; training took {in_seconds(found.tune_seconds)} last time."
           if found.tune_seconds is not None else ".")])


def _learning(comparison: Comparison) -> Section | None:
    found = comparison.learning
    if found is None or not found.points:
        return None
    name = words.METRIC_NAMES.get(found.metric, found.metric.replace("_", " "))
    tables = [Table(
        f"Mean {name} after training on so many examples",
        ["arm", "examples", name, "training"],
        [[point.arm, f"{point.examples:,}", words.spread(point.value),
          in_seconds(point.seconds)] for point in found.points])]
    if found.extrapolations:
        tables.append(Table(
            "If the curve goes on as it has so far",
            ["arm", "examples", name, "gain"],
            [[more.arm, f"{more.examples:,}", words.spread(more.value), words.spread(more.gain)]
             for more in found.extrapolations]))
    return Section("learning", "The learning curve",
                   [more.sentence for more in found.extrapolations], tables)


def _loss(comparison: Comparison) -> Section | None:
    curves = [curve for curve in comparison.loss if curve.points]
    if not curves:
        return None
    return Section("loss", "How the training went", (), [Table(
        "Training loss of the adapters", ["arms", "steps", "first", "last", "run"],
        [[", ".join(curve.arms), f"{curve.points[-1][0]:,}", f"{curve.points[0][1]:.3f}",
          f"{curve.points[-1][1]:.3f}", curve.run] for curve in curves], text=(4,))])


def _forms(comparison: Comparison) -> Section | None:
    if not comparison.forms:
        return None
    return Section("forms", "Form or knowledge?", (), [Table(
        "Leads of tuned arms over untuned ones, in token F1",
        ["arms", "lead", "without form", "form", "form's share", "holds the answer"],
        [[f"{form.a} over {form.b}", *(words.spread(part) for part in (
            form.lead, form.without_form, form.form)),
          _ABSENT if form.share is None else f"{form.share:.0%}", words.spread(form.contains)]
         for form in comparison.forms])], [form.sentence for form in comparison.forms])


def _harms(comparison: Comparison) -> Section | None:
    columns: list[tuple[str, Callable[[int], Interval | None]]] = [
        ("forgotten", lambda i: comparison.harms[i].forgotten),
        ("answers the unanswerable", lambda i: comparison.harms[i].answered_unanswerable),
        ("cites what is not there", lambda i: comparison.harms[i].fabricated_citations),
        ("numbers without a source", lambda i: comparison.harms[i].unsupported_numbers)]
    places = range(len(comparison.harms))
    shown = [(name, part) for name, part in columns
             if any(part(place) is not None for place in places)]
    if not shown:
        return None
    known = max(harm.known for harm in comparison.harms)
    notes = [f"Forgotten: of {known} general questions that base answers right, those that the "
             "arm no longer does."] if known else []
    return Section("harms", "What the arms do that they should not", (), [Table(
        "Shares, less is better", ["arm", *(name for name, _ in shown)],
        [[comparison.harms[place].arm, *(_spread(part(place)) for _, part in shown)]
         for place in places])], notes)


def _judged(comparison: Comparison) -> Section | None:
    if not comparison.judged:
        return None
    return Section("judged", "What the judge prefers", (), [Table(
        "Each pair of answers was shown in both orders; a contradiction is a tie",
        ["first", "second", "first wins", "second wins", "ties", "contradictions",
         "failures", "preference (−1 to 1)"],
        [[seen.a, seen.b, str(seen.wins_a), str(seen.wins_b), str(seen.ties),
          str(seen.inconsistent), str(seen.failures), _spread(seen.preference)]
         for seen in comparison.judged], text=(1,))])


def _costs(comparison: Comparison) -> Section | None:
    found = comparison.costs
    if found is None or not found.arms:
        return None
    caption, head, rows = cost_table(found)
    tables = [Table(caption, head, rows)]
    if found.break_evens:
        tables.append(Table(
            "From how many questions a month one is cheaper than another",
            ["cheaper", "than", "from questions a month"],
            [[point.cheaper, point.dearer, f"{point.questions:,.0f}"]
             for point in found.break_evens], text=(1,)))
    said = [f"At {volume(found)}."] if volume(found) else []
    return Section("costs", "What the arms cost", said, tables,
                   [*(point.sentence for point in found.break_evens), *found.basis])


def _notes(comparison: Comparison) -> Section | None:
    if not comparison.notes:
        return None
    return Section("notes", "To read this rightly", comparison.notes)


def _spread(found: Interval | None) -> str:
    return _ABSENT if found is None else words.spread(found)


def _each(arm: ArmSummary) -> float:
    return arm.seconds / arm.questions


_SECTIONS: tuple[Callable[[Comparison], Section | None], ...] = (
    _choice, _gates, _effects, _documents, _diagnostics, _costs, _learning, _loss, _freshness,
    _forms, _harms, _judged, _notes)
