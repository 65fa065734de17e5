"""The published cases: read for validating, explaining and fitting, never for advising."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from phi3kit.advise.scenario import check_answers
from phi3kit.errors import DataError
from phi3kit.records import Option
from phi3kit.shipped import shipped


class Source(Struct, frozen=True):
    """Where a case was published."""

    what: str
    year: int
    url: str
    kind: str


class Case(Struct, frozen=True, forbid_unknown_fields=True):
    """One published measurement. data/evidence/README.md explains the fields.

    Attributes:
        round: 1 for the cases that the rules were written from, 2 for those that were found and
            coded afterwards, without sight of the rules.
    """

    id: str
    group: str
    scenario: str
    answers: dict[str, Any]
    measured: dict[str, Any]
    winner: Option
    acceptable: tuple[Option, ...]
    scorable: bool
    confidence: str
    figures: str
    source: Source
    caveat: str | None
    round: int = 1


def load_cases(path: Path | None = None) -> tuple[Case, ...]:
    """The cases of a file; None: those that travel with phi3kit.

    Raises:
        DataError: the file is missing or damaged, or a case has an answer that is not one.
    """
    path = path or shipped("data") / "evidence" / "cases.yaml"
    try:
        tree = yaml.load(path.read_bytes(),
                         Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        cases = msgspec.convert(tree, tuple[Case, ...])
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise DataError(f"the published cases cannot be read ({error})", where=str(path),
                        mend="Install phi3kit again from its wheel or checkout") from error
    for case in cases:
        check_answers(case.answers)
    return cases


def by_group(cases: tuple[Case, ...]) -> Mapping[str, tuple[Case, ...]]:
    """The cases of each study."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case)
    return {group: tuple(members) for group, members in groups.items()}
