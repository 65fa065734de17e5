"""A comparison with every record that a report can draw, and foreign text in all of them."""

from __future__ import annotations

import dataclasses

from phi3kit.records import (
    ArmCost,
    BreakEven,
    Choice,
    Comparison,
    Costs,
    CurvePoint,
    Diagnosis,
    Discordance,
    Effect,
    Extrapolation,
    FormShare,
    FreshArm,
    Freshness,
    Gate,
    Harm,
    Interval,
    Judged,
    LearningCurve,
    LossCurve,
    Revised,
    Standing,
    Switch,
)

HALF = Interval(0.5, 0.41, 0.59)


def with_everything(made: Comparison, hostile: str = "") -> Comparison:
    """`made` with all records filled; `hostile` stands in every free text of theirs."""
    rows = list(made.rows)
    oracle = [dataclasses.replace(row, arm="oracle-rag") for row in rows if row.arm == "rag"]
    summary = next(arm for arm in made.arms if arm.arm == "rag")
    rows = [dataclasses.replace(row, documents=2 if row.question_id.startswith("label") else 1)
            for row in rows]
    return dataclasses.replace(
        made, rows=(*rows, *oracle),
        diagnostics=(dataclasses.replace(summary, arm="oracle-rag"),),
        diagnoses=(Diagnosis("oracle-rag", "rag", Interval(0.2, 0.1, 0.3), "mend_retrieval",
                             f"Mend the retrieval first.{hostile}"),),
        forms=(FormShare("finetune", "base", HALF, Interval(0.3, 0.2, 0.4),
                         Interval(0.1, 0.0, 0.2), Interval(0.2, 0.1, 0.3), 0.4,
                         f"Two fifths of the lead are form.{hostile}"),),
        harms=(Harm("base", 24, Interval(0.0, 0.0, 0.0), HALF, None, None),
               Harm("rag", 24, Interval(0.04, 0.0, 0.1), HALF, Interval(0.01, 0.0, 0.02),
                    Interval(0.07, 0.02, 0.12))),
        judged=(Judged("both", "rag", 61, 20, 37, 12, 2, Interval(0.34, 0.2, 0.48)),),
        notes=(f"The adapter of finetune was trained for two epochs.{hostile}",),
        effects=(Effect("retrieval", Interval(0.31, 0.24, 0.38), 0.0002,
                        f"Retrieving adds 0.31.{hostile}"),
                 Effect("interaction", Interval(-0.05, -0.2, 0.1), 0.4, "They neither help "
                        "nor hinder each other.")),
        discordances=(Discordance("both", "rag", "exact_match", 31, 9, 52, 28, 0.0006),),
        likely_best={"both": 0.995, "rag": 0.005},
        choice=_choice(hostile),
        revised=Revised("both", 0.72, "rag", 0.95, False, "measured",
                        (f"citations = required{hostile}",)),
        gates=(Gate(f"both.score >= 0.6{hostile}", Interval(0.86, 0.8, 0.91), "passed",
                    f"both has 0.86.{hostile}"),),
        freshness=Freshness(12, 5, tuple(
            FreshArm(arm, Interval(now, now - 0.1, now), Interval(1 - now, 0.9 - now, 1 - now),
                     Interval(0.0, 0.0, 0.2))
            for arm, now in (("base", 0.1), ("rag", 0.9), ("finetune", 0.1), ("both", 0.8))),
            31, 2.4, 840.0, f"Arms that retrieve follow the documents.{hostile}"),
        learning=_learning(hostile), costs=_costs(hostile), loss=(
            LossCurve(("finetune", "bolted-on"), f"runs/finetune-1{hostile}",
                      ((10, 2.4), (20, 1.1), (60, 0.612))),
            LossCurve(("both",), "runs/finetune-2", ((10, 2.1), (60, 0.58)))))


def _choice(hostile: str) -> Choice:
    return Choice(
        {"quality": 0.6, "cost": 0.3, "freshness": 0.1}, "rag",
        (Standing("rag", {"quality": 0.8, "cost": 0.7, "freshness": 1.0}, 0.79, 0.83),
         Standing("both", {"quality": 1.0, "cost": 0.1}, 0.63, 0.17)),
        (Switch("cost", 0.3, 0.12, "both", "rag stays ahead until cost weighs less than 0.12."),),
        f"Choose rag by your weights.{hostile}", (f"latency: nothing measured it{hostile}",))


def _learning(hostile: str) -> LearningCurve:
    return LearningCurve("score", tuple(
        CurvePoint(arm, size, Interval(low + size / 400, low + size / 400 - 0.08,
                                       low + size / 400 + 0.08), f"runs/{size}{hostile}", 60.0)
        for arm, low in (("finetune", 0.2), ("both", 0.4)) for size in (25, 50, 100)),
        (Extrapolation("finetune", 200, Interval(0.55, 0.4, 0.7), Interval(0.1, -0.05, 0.25),
                       f"Twice the examples may bring 0.10.{hostile}"),))


def _costs(hostile: str) -> Costs:
    return Costs(
        tuple(ArmCost(arm, tokens, 12.0, taken, 2 * taken, 1 / taken, right, 3 * 2 ** 30,
                      840.0 if tuned else None, None, 14.0 if tokens > 100 else None, None,
                      month, month / right / 10_000, month / 3, month / 15_000)
              for arm, tokens, taken, right, tuned, month in (
                  ("base", 40.0, 0.12, 0.21, False, 120.0),
                  ("rag", 220.0, 0.31, 0.55, False, 310.0),
                  ("finetune", 40.0, 0.12, 0.5, True, 315.0),
                  ("both", 220.0, 0.31, 0.86, True, 390.0))),
        f"EUR{hostile}", 10_000.0, 2.0, 3.1,
        (BreakEven("rag", "both", 1200.0, f"rag is cheaper below 1,200 questions.{hostile}"),),
        (f"Prices are those of the file.{hostile}",))
