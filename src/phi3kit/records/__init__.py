"""Frozen records that pass between rooms. Standard library only, JSON all the way down.

A file of them is read when the first of its records is asked for: to make all of them takes as
long as the rest of a quick command.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phi3kit.records.advise import (
        Advice,
        Cost,
        Measured,
        MeasuredRun,
        Missing,
        Reason,
        Reversal,
        Settle,
    )
    from phi3kit.records.ask import Answer, Citation, Unsupported
    from phi3kit.records.beside import (
        ArmCost,
        BreakEven,
        Costs,
        CurvePoint,
        Extrapolation,
        FreshArm,
        Freshness,
        LearningCurve,
        LossCurve,
    )
    from phi3kit.records.common import (
        ARMS,
        OPTIONS,
        Arm,
        Failure,
        Interval,
        Message,
        Option,
        as_json,
        with_ends,
    )
    from phi3kit.records.compare import (
        ArmSummary,
        Comparison,
        Diagnosis,
        Difference,
        FormShare,
        Harm,
        Judged,
        Question,
        Revised,
        Row,
        Spread,
        TrainingSeeds,
        Verdict,
    )
    from phi3kit.records.dataset import (
        Conflict,
        Cut,
        DataDigest,
        DatasetCheck,
        DatasetSize,
        DatasetSplit,
        KnownAnswers,
        LabelCounts,
        Leak,
        Lengths,
        MaskPicture,
        RaftReport,
        Repeat,
        Span,
        SynthReport,
    )
    from phi3kit.records.decision import (
        CRITERIA,
        Choice,
        Criterion,
        Detectable,
        Discordance,
        Effect,
        Gate,
        Standing,
        Switch,
    )
    from phi3kit.records.export import TARGETS, ExportReport, ExportStage, Target
    from phi3kit.records.finetune import TrainReport
    from phi3kit.records.ingest import Fidelity, IngestReport, Passage
    from phi3kit.records.plan import (
        Calibration,
        CalibrationRow,
        Check,
        MemoryPlan,
        PlanChange,
        TimePlan,
        TrainingPlan,
    )
    from phi3kit.records.preflight import Preflight
    from phi3kit.records.retrieval import (
        CalibrationReport,
        ModeDifference,
        RetrievalMode,
        RetrievalReport,
        ThresholdEffect,
        ThresholdPoint,
    )
    from phi3kit.records.side_by_side import (
        Differing,
        Overlap,
        RunDifference,
        SetArm,
        SetRun,
        Shift,
        SideBySide,
    )

_FILES = {
    "advise": "Advice Cost Measured MeasuredRun Missing Reason Reversal Settle",
    "ask": "Answer Citation Unsupported",
    "beside": (
        "ArmCost BreakEven Costs CurvePoint Extrapolation FreshArm Freshness LearningCurve "
        "LossCurve"),
    "common": "ARMS OPTIONS Arm Failure Interval Message Option as_json with_ends",
    "compare": (
        "ArmSummary Comparison Diagnosis Difference FormShare Harm Judged Question Revised Row "
        "Spread TrainingSeeds Verdict"),
    "dataset": (
        "Conflict Cut DataDigest DatasetCheck DatasetSize DatasetSplit KnownAnswers LabelCounts "
        "Leak Lengths MaskPicture RaftReport Repeat Span SynthReport"),
    "decision": "CRITERIA Choice Criterion Detectable Discordance Effect Gate Standing Switch",
    "export": "TARGETS ExportReport ExportStage Target",
    "finetune": "TrainReport",
    "ingest": "Fidelity IngestReport Passage",
    "plan": "Calibration CalibrationRow Check MemoryPlan PlanChange TimePlan TrainingPlan",
    "preflight": "Preflight",
    "retrieval": (
        "CalibrationReport ModeDifference RetrievalMode RetrievalReport ThresholdEffect "
        "ThresholdPoint"),
    "side_by_side": "Differing Overlap RunDifference SetArm SetRun Shift SideBySide",
}
_FILE_OF = {name: file for file, names in _FILES.items() for name in names.split()}

__all__ = [
    "ARMS",
    "CRITERIA",
    "OPTIONS",
    "TARGETS",
    "Advice",
    "Answer",
    "Arm",
    "ArmCost",
    "ArmSummary",
    "BreakEven",
    "Calibration",
    "CalibrationReport",
    "CalibrationRow",
    "Check",
    "Choice",
    "Citation",
    "Comparison",
    "Conflict",
    "Cost",
    "Costs",
    "Criterion",
    "CurvePoint",
    "Cut",
    "DataDigest",
    "DatasetCheck",
    "DatasetSize",
    "DatasetSplit",
    "Detectable",
    "Diagnosis",
    "Difference",
    "Differing",
    "Discordance",
    "Effect",
    "ExportReport",
    "ExportStage",
    "Extrapolation",
    "Failure",
    "Fidelity",
    "FormShare",
    "FreshArm",
    "Freshness",
    "Gate",
    "Harm",
    "IngestReport",
    "Interval",
    "Judged",
    "KnownAnswers",
    "LabelCounts",
    "Leak",
    "LearningCurve",
    "Lengths",
    "LossCurve",
    "MaskPicture",
    "Measured",
    "MeasuredRun",
    "MemoryPlan",
    "Message",
    "Missing",
    "ModeDifference",
    "Option",
    "Overlap",
    "Passage",
    "PlanChange",
    "Preflight",
    "Question",
    "RaftReport",
    "Reason",
    "Repeat",
    "RetrievalMode",
    "RetrievalReport",
    "Reversal",
    "Revised",
    "Row",
    "RunDifference",
    "SetArm",
    "SetRun",
    "Settle",
    "Shift",
    "SideBySide",
    "Span",
    "Spread",
    "Standing",
    "Switch",
    "SynthReport",
    "Target",
    "ThresholdEffect",
    "ThresholdPoint",
    "TimePlan",
    "TrainReport",
    "TrainingPlan",
    "TrainingSeeds",
    "Unsupported",
    "Verdict",
    "as_json",
    "with_ends",
]


def __getattr__(name: str) -> Any:
    """A record that is asked for the first time; Python finds it by itself from then on."""
    if name not in _FILE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(f"{__name__}.{_FILE_OF[name]}"), name)
    return found
