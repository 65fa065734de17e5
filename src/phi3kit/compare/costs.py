"""What each arm costs: measured per answer, and reckoned for a month by the user's volume.

A clock decides all of it, so it is kept apart from result.json, in costs.json.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from phi3kit.compare.arms import RETRIEVING, contestants
from phi3kit.compare.break_even import Line, break_evens
from phi3kit.compare.leakage import training_run
from phi3kit.compare.prices import Prices, prices
from phi3kit.compare.statistics import times
from phi3kit.compare.task import Task
from phi3kit.compare.tuned import TUNED
from phi3kit.compare.usage import Measured, read_usage
from phi3kit.errors import RunError
from phi3kit.files import write_json
from phi3kit.ingest.built import Built, read_built
from phi3kit.ingest.site import site_of
from phi3kit.records import Arm, ArmCost, Costs, Row, as_json
from phi3kit.settings import Settings
from phi3kit.wording import in_seconds

COSTS = "costs.json"
# An answer counts as right when the deciding metric gives at least this.
RIGHT = 0.5


def measure_costs(task: Task, rows: Sequence[Row], run: Path) -> Costs:
    """The costs of a finished run, which are also written into its folder.

    Args:
        task: its settings bring prices and volume, its adapters their training.
        rows: every arm's scored rows.
        run: the run folder, with what was measured while the arms answered.

    Raises:
        RunError: usage.json is damaged.
    """
    built = None
    if any(arm in RETRIEVING for arm in contestants(task.arms)):
        wanted = task.settings.ingest
        built = read_built(site_of(wanted.store), wanted.collection)
    training = {arm: _result(folder) for arm, folder in task.adapters.by_arm.items()}
    found = costs_of(rows, contestants(task.arms), task.settings, measured=read_usage(run),
                     built=built, training=training)
    write_json(run / COSTS, as_json(found))
    return found


def _result(adapter: Path) -> Mapping[str, Any]:
    return (training_run(adapter) or {}).get("result") or {}


def read_costs(run: Path) -> Costs | None:
    """The costs in a run folder; None where none were written.

    Raises:
        RunError: the file is damaged.
    """
    try:
        return msgspec.json.decode((run / COSTS).read_bytes(), type=Costs)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, RecursionError) as error:
        raise RunError(f"{COSTS} cannot be read ({error})", where=str(run),
                       mend="Run phi3kit compare again") from error


def costs_of(rows: Sequence[Row], arms: Sequence[Arm], settings: Settings, *,
             measured: Measured, built: Built | None,
             training: Mapping[Arm, Mapping[str, Any]]) -> Costs:
    """The costs of `arms` from what was measured.

    A month costs `questions * answer + refreshes * refresh`, where a refresh is indexing from
    nothing for an arm that retrieves, training for one that is tuned, and both for both.

    Args:
        rows: scored; each of `arms` has the same questions.
        arms: those that can win.
        settings: prices, volume, refreshes, deciding metric, and whether a server answers.
        measured: while the arms answered.
        built: what indexing took; None where no run tells.
        training: by tuned arm, what its training run reported; {} where that is not known.
    """
    chosen, worth = settings.compare, prices(settings)
    found, lines = [], []
    for arm in arms:
        own = [row for row in rows if row.arm == arm]
        seconds = _seconds(arm, own, settings, measured)
        cost = _measured(arm, own, seconds, chosen.metric, measured)
        cost = dataclasses.replace(
            cost, index_seconds=built.seconds if built and arm in RETRIEVING else None,
            train_seconds=training.get(arm, {}).get("seconds"),
            train_memory_bytes=training.get(arm, {}).get("peak_memory_bytes"))
        each = worth.answer(seconds, cost.tokens_in, cost.tokens_out)
        fixed = _refreshes(cost, chosen.refreshes_per_month or 0.0, worth)
        if each is not None and fixed is not None:
            lines.append(Line(arm, fixed, each, cost.correct))
            cost = _with_month(cost, lines[-1], chosen.questions_per_month)
        found.append(cost)
    return Costs(
        arms=tuple(found), unit=worth.unit, questions_per_month=chosen.questions_per_month,
        refreshes_per_month=chosen.refreshes_per_month, load_seconds=measured.load_seconds,
        break_evens=break_evens(lines),
        basis=tuple(_basis(found, settings, worth, built, measured)))


def _seconds(arm: Arm, rows: Sequence[Row], settings: Settings, measured: Measured) -> float:
    """Machine time per answer, searching included."""
    used = measured.arms.get(arm)
    if settings.model.endpoint is not None and used is not None:
        return used.seconds / used.answers  # a row's time overlaps with others': several at once
    return math.fsum(row.seconds for row in rows) / len(rows) + _searching(arm, measured)


def _measured(arm: Arm, rows: Sequence[Row], seconds: float, metric: str,
              measured: Measured) -> ArmCost:
    """What answering took, without what that is worth."""
    used, taken, searching = measured.arms.get(arm), times(rows), _searching(arm, measured)
    return ArmCost(
        arm=arm, tokens_in=sum(row.tokens_in for row in rows) / len(rows),
        tokens_out=sum(row.tokens_out for row in rows) / len(rows),
        latency_p50=taken["latency_p50"] + searching,
        latency_p95=taken["latency_p95"] + searching,
        answers_per_second=1 / seconds if seconds else 0.0,
        correct=sum(row.metrics[metric] >= RIGHT for row in rows) / len(rows),
        memory_bytes=used.memory_bytes if used else None,
        energy_joules=None if used is None or used.joules is None else (
            used.joules / used.answers))


def _searching(arm: Arm, measured: Measured) -> float:
    """Seconds per answer that an arm was spared, for another had searched for its passages."""
    own = measured.arms.get(arm)
    if arm not in RETRIEVING or own is None:
        return 0.0
    searched = sum(used.searched for used in measured.arms.values())
    seconds = sum(used.search_seconds for used in measured.arms.values())
    # A prompt that does not fit is searched for again with fewer passages: more than answers.
    spared = max(0.0, 1 - own.searched / own.answers)
    return spared * seconds / searched if searched else 0.0


def _refreshes(cost: ArmCost, refreshes: float, worth: Prices) -> float | None:
    """A month's refreshes of an arm; None when what they take is not known."""
    if not refreshes:
        return 0.0
    total = 0.0
    for needed, seconds in ((cost.arm in RETRIEVING, cost.index_seconds),
                            (cost.arm in TUNED, cost.train_seconds)):
        if needed:
            work = None if seconds is None else worth.work(seconds)
            if work is None:
                return None
            total += refreshes * work
    return total


def _with_month(cost: ArmCost, line: Line, questions: int | None) -> ArmCost:
    """With what a month and a right answer cost; without a volume, what answering alone does."""
    monthly = None if questions is None else line.fixed + line.each * questions
    answer = line.each if monthly is None or questions is None else monthly / questions
    return dataclasses.replace(
        cost, monthly=monthly, per_correct=answer / cost.correct if cost.correct else None,
        fixed=line.fixed, each=line.each)


def _basis(found: Sequence[ArmCost], settings: Settings, worth: Prices, built: Built | None,
           measured: Measured) -> Iterator[str]:
    """What the figures rest on."""
    yield worth.basis
    yield ("A server's answers took the time that was waited for them, several at once."
           if settings.model.endpoint is not None else
           "An answer's seconds are its share of a batch; who asks alone waits longer.")
    yield from _refresh_basis(found, settings, worth, built)
    counted = {used.counted for used in measured.arms.values() if used.counted}
    if counted:
        yield (f"Energy is what the {' or '.join(sorted(counted))} counted while the arm answered, "
               "other work on the machine and idling included.")


def _refresh_basis(found: Sequence[ArmCost], settings: Settings, worth: Prices,
                   built: Built | None) -> Iterator[str]:
    if not settings.compare.refreshes_per_month:
        yield ("No refreshes are counted (compare.refreshes_per_month)."
               if settings.compare.refreshes_per_month is None else
               "Nothing is ever made anew: refreshes are 0 a month.")
        return
    indexed = f", which took {in_seconds(built.seconds)} for {built.chunks} chunks" if built else ""
    yield (f"A refresh indexes everything anew where an arm retrieves{indexed}, and trains anew "
           "where it is tuned.")
    if worth.per_second is None:
        yield ("Indexing and training have no price without compare.price_per_hour, so arms that "
               "need them have no cost a month.")
        return
    if built is None and any(cost.arm in RETRIEVING for cost in found):
        yield ("How long indexing takes is not known (phi3kit ingest --rebuild measures it), so "
               "arms that retrieve have no cost a month.")
    for cost in found:
        if cost.arm in TUNED and cost.train_seconds is None:
            yield (f"How long the training of {cost.arm} took is not known, so it has no cost a "
                   "month.")
