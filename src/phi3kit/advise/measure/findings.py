"""What measuring a user's data yields: answers, and why the others are missing."""

from __future__ import annotations

from dataclasses import dataclass

from phi3kit.records import Failure, Measured


@dataclass(frozen=True, slots=True)
class Findings:
    """Answers that the data gave, and the fields about which it says nothing.

    Attributes:
        measured: the answers, each with how it was found.
        unmeasured: fields that were looked at without an answer; `Failure.where` is the
            field's name, `Failure.why` the reason in a sentence.
    """

    measured: tuple[Measured, ...] = ()
    unmeasured: tuple[Failure, ...] = ()

    def __add__(self, other: Findings) -> Findings:
        """Both findings, these first."""
        return Findings(self.measured + other.measured, self.unmeasured + other.unmeasured)


def found(field: str, value: object, how: str) -> Findings:
    """One measured answer."""
    return Findings(measured=(Measured(field, value, how),))


def nothing(field: str, why: str) -> Findings:
    """No answer for `field`, and why."""
    return Findings(unmeasured=(Failure(field, why),))
