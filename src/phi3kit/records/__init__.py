"""Frozen records that pass between rooms. Standard library only, JSON all the way down."""

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
from phi3kit.records.ask import Answer, Citation
from phi3kit.records.common import OPTIONS, Failure, Interval, Message, Option, as_json
from phi3kit.records.compare import ArmSummary, Comparison, Difference, Question, Row, Verdict
from phi3kit.records.dataset import DatasetSize
from phi3kit.records.finetune import TrainReport
from phi3kit.records.ingest import IngestReport, Passage
from phi3kit.records.plan import Check, MemoryPlan, TimePlan
from phi3kit.records.retrieval import RetrievalMode, RetrievalReport

__all__ = [
    "OPTIONS",
    "Advice",
    "Answer",
    "ArmSummary",
    "Check",
    "Citation",
    "Comparison",
    "Cost",
    "DatasetSize",
    "Difference",
    "Failure",
    "IngestReport",
    "Interval",
    "Measured",
    "MeasuredRun",
    "MemoryPlan",
    "Message",
    "Missing",
    "Option",
    "Passage",
    "Question",
    "Reason",
    "RetrievalMode",
    "RetrievalReport",
    "Reversal",
    "Row",
    "Settle",
    "TimePlan",
    "TrainReport",
    "Verdict",
    "as_json",
]
