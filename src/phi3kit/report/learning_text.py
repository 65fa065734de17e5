"""The learning curve in sentences, shared by the terminal and Markdown reports."""

from __future__ import annotations

from phi3kit.records import CurvePoint, LearningCurve


def learning_sentences(learning: LearningCurve | None) -> list[str]:
    """What twice the examples would bring, then each arm's curve; [] where it was not measured."""
    if learning is None:
        return []
    said = [more.sentence for more in learning.extrapolations]
    for arm in dict.fromkeys(point.arm for point in learning.points):
        points = ", ".join(_said(point) for point in learning.points if point.arm == arm)
        said.append(f"{arm} by examples trained on: {points}.")
    return said


def _said(point: CurvePoint) -> str:
    value = point.value
    return f"{value.mean:.2f} ({value.low:.2f} to {value.high:.2f}) after {point.examples:,}"
