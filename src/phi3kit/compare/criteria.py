"""Each option by each criterion, 0 (worst) to 1 (best), as seen and in bootstrap draws.

A draw takes the documents with replacement, the same ones for every option, and computes
anew whatever comes from rows; so what one document does to two options stays together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from phi3kit.compare.arms import READS
from phi3kit.compare.intervals import Method
from phi3kit.compare.seeds import shifts
from phi3kit.records import Comparison, Criterion, Row

# Numbers held at once while drawing; it bounds memory (16 MB) and changes no result.
_AT_ONCE = 2_000_000


@dataclass(frozen=True, slots=True)
class Measured:
    """What the criteria say of the options.

    Attributes:
        names: the criteria that were measured.
        parts: float array (1 + draws, criteria, options), 0 to 1; the first is as seen.
        left_out: the others, and why, in words.
        questions: how many stand in each document that was drawn from: float array.
    """

    names: tuple[Criterion, ...]
    parts: Any
    left_out: tuple[str, ...]
    questions: Any


@dataclass(frozen=True, slots=True)
class _Table:
    """One option's answers: arrays with a place for each.

    Attributes:
        order: the answers by their seconds, fastest first.
        sourced: 1 where the question names the documents that hold its answer, else 0.
        shown: share of the answer's citations that are of those documents, else 0.
    """

    arm: str
    cluster: Any
    worth: Any
    tokens: Any
    seconds: Any
    order: Any
    sourced: Any
    shown: Any


def measure(comparison: Comparison, wanted: Sequence[Criterion], method: Method) -> Measured:
    """The `wanted` criteria of every option in a comparison.

    quality is the mean of the deciding metric. latency is the fastest option's median seconds
    per answer over this one's, cost the same of prompt and answer tokens, or of what a month
    costs where that was reckoned for every option: half the part is twice the time or price,
    and an option that is not the best at it changes no other's part. transparency is the share
    of right ones among an answer's citations, averaged over the questions that name their
    documents; an answer without citations has 0, and so has an option that reads nothing.
    freshness is how often a fact that was edited after training is answered as it is now.

    Draws of quality draw the training seeds too, where there are several (`seeds.shifts`).
    A month's costs are taken as they are. Freshness was measured on other questions: its
    draws are normal with the standard error that its interval tells.
    """
    import numpy as np

    index: dict[str, int] = {}
    for row in comparison.rows:
        index.setdefault(row.cluster, len(index))
    tables = [_table(arm.arm, [r for r in comparison.rows if r.arm == arm.arm], index,
                     comparison.verdict.metric) for arm in comparison.arms]
    rng = np.random.default_rng(method.seed)
    missing = {name: why for name in wanted if (why := _missing(name, comparison, tables))}
    names = tuple(name for name in wanted if name not in missing)
    pieces = [np.stack([_OF[name](comparison, tables, counts, rng) for name in names], axis=1)
              for counts in _draws(len(index), len(comparison.rows), method, rng)
              ] if names else []
    return Measured(names, np.concatenate(pieces) if pieces else np.empty((0, 0, len(tables))),
                    tuple(f"{name}: {why}" for name, why in missing.items()),
                    np.bincount(tables[0].cluster, minlength=len(index)).astype(float))


def _draws(clusters: int, rows: int, method: Method, rng: Any) -> Any:
    """How often each cluster is in each draw: arrays (draws, clusters), once each first."""
    import numpy as np

    yield np.ones((1, clusters))
    left = method.resamples
    while left:
        size = min(left, max(1, _AT_ONCE // max(rows, clusters)))
        yield rng.multinomial(clusters, np.full(clusters, 1 / clusters), size).astype(float)
        left -= size


def _table(arm: str, rows: Sequence[Row], index: Mapping[str, int], metric: str) -> _Table:
    import numpy as np

    def array(values: Sequence[float]) -> Any:
        return np.array(values, dtype=float)

    seconds = array([row.seconds for row in rows])
    return _Table(
        arm, np.array([index[row.cluster] for row in rows]),
        array([row.metrics[metric] for row in rows]),
        array([row.tokens_in + row.tokens_out for row in rows]),
        seconds, np.argsort(seconds, kind="stable"),
        # citation_recall stands in every row of a reading arm whose question has documents.
        array(["citation_recall" in row.metrics for row in rows]),
        array([row.metrics.get("citation_precision", 0.0)
               if "citation_recall" in row.metrics else 0.0 for row in rows]))


def _missing(name: Criterion, comparison: Comparison, tables: Sequence[_Table]) -> str:
    """Why a criterion says nothing here; "" when it does."""
    if name == "freshness":
        if comparison.freshness is None:
            return "it was not measured"
        known = {arm.arm for arm in comparison.freshness.arms}
        lacking = [table.arm for table in tables if table.arm not in known]
        return f"it was not measured for {', '.join(lacking)}" if lacking else ""
    if name == "transparency":
        reading = [table for table in tables if table.arm in READS]
        if reading and not any(table.sourced.any() for table in reading):
            return "no question names the documents that hold its answer (source_ids)"
        return "" if reading else "no option reads anything that it could cite"
    return ""


def _mean(table: _Table, values: Any, counts: Any, among: Any = None) -> Any:
    """Mean per draw of `values`, of all answers or `among` some: array (draws,)."""
    import numpy as np

    clusters = counts.shape[1]
    weight = np.ones_like(values) if among is None else among
    total = counts @ np.bincount(table.cluster, weight * values, clusters)
    number = counts @ np.bincount(table.cluster, weight, clusters)
    return np.divide(total, number, out=np.zeros_like(total), where=number > 0)


def _as_seen(counts: Any) -> bool:
    """Each document once: this is no draw."""
    return len(counts) == 1 and bool((counts == 1).all())


def _quality(comparison: Comparison, tables: Sequence[_Table], counts: Any, rng: Any) -> Any:
    import numpy as np

    found = np.stack([_mean(table, table.worth, counts) for table in tables], axis=1)
    if not comparison.seeds or _as_seen(counts):
        return found
    return found + shifts(comparison.seeds, [table.arm for table in tables],
                          comparison.verdict.metric, len(counts), rng)


def _latency(comparison: Comparison, tables: Sequence[_Table], counts: Any, rng: Any) -> Any:
    import numpy as np

    return _best_over(np.stack([_median(table, counts) + _spared(comparison, table.arm)
                                for table in tables], axis=1))


def _median(table: _Table, counts: Any) -> Any:
    """Median seconds per draw, by nearest rank: array (draws,)."""
    import numpy as np

    reached = np.cumsum(counts[:, table.cluster[table.order]], axis=1)
    place = np.argmax(reached >= 0.5 * reached[:, -1:], axis=1)
    return table.seconds[table.order][place]


def _spared(comparison: Comparison, arm: str) -> float:
    """Seconds per answer for the search that another arm had done, where that is known."""
    seen = {summary.arm: summary.latency_p50 for summary in comparison.arms}
    own = [cost.latency_p50 for cost in (comparison.costs.arms if comparison.costs else ())
           if cost.arm == arm]
    return max(0.0, own[0] - seen[arm]) if own else 0.0


def _cost(comparison: Comparison, tables: Sequence[_Table], counts: Any, rng: Any) -> Any:
    import numpy as np

    months = monthly(comparison)
    if months is None:
        return _best_over(np.stack([_mean(t, t.tokens, counts) for t in tables], axis=1))
    return _best_over(np.tile([months[table.arm] for table in tables], (len(counts), 1)))


def monthly(comparison: Comparison) -> dict[str, float] | None:
    """What a month costs by option; None where that is not known for every one."""
    known = {cost.arm: cost.monthly for cost in (comparison.costs.arms if comparison.costs
                                                 else ()) if cost.monthly is not None}
    if not all(arm.arm in known for arm in comparison.arms):
        return None
    return {str(arm): value for arm, value in known.items()}


def _transparency(comparison: Comparison, tables: Sequence[_Table], counts: Any,
                  rng: Any) -> Any:
    import numpy as np

    return np.stack([_mean(t, t.shown, counts, among=t.sourced) for t in tables], axis=1)


def _freshness(comparison: Comparison, tables: Sequence[_Table], counts: Any, rng: Any) -> Any:
    import numpy as np
    from scipy import stats

    assert comparison.freshness is not None
    updated = {arm.arm: arm.updated for arm in comparison.freshness.arms}
    found = [updated[table.arm] for table in tables]  # type: ignore[index]
    sure = 2 * stats.norm.isf((1 - comparison.confidence) / 2)
    means = np.array([each.mean for each in found])
    if _as_seen(counts):
        return means[None, :]
    errors = np.array([(each.high - each.low) / sure for each in found])
    drawn = means + errors * rng.standard_normal((len(counts), len(found)))
    return drawn.clip(0.0, 1.0)


def _best_over(values: Any) -> Any:
    """The lowest of each draw over each: 1 for the lowest, towards 0 for higher ones."""
    import numpy as np

    lowest = values.min(axis=1, keepdims=True)
    return np.divide(lowest, values, out=np.ones_like(values), where=values > 0)


_OF: Mapping[Criterion, Callable[[Comparison, Sequence[_Table], Any, Any], Any]] = {
    "quality": _quality, "latency": _latency, "cost": _cost, "transparency": _transparency,
    "freshness": _freshness}
