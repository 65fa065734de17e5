"""What is not the same in several runs: conditions, settings, inputs, versions, machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from phi3kit.records import Comparison, Differing
from phi3kit.settings import recorded

_Group = Literal["condition", "setting", "input", "version", "machine"]
# What a run folder holds under which name; the conditions come from the comparison itself.
_KEPT: tuple[tuple[_Group, str], ...] = (
    ("input", "inputs"), ("version", "versions"), ("machine", "machine"))


def differing(comparisons: Sequence[Comparison],
              states: Sequence[Mapping[str, Any]]) -> tuple[Differing, ...]:
    """Only what differs, group by group, in the order in which the runs name it.

    Args:
        comparisons: of the runs.
        states: run.json of each, in the same order.
    """
    found = _different("condition", [comparison.conditions for comparison in comparisons])
    found += _different("setting", [recorded.flat(state) for state in states])
    for group, key in _KEPT:
        found += _different(group, [_named(state.get(key)) for state in states])
    return tuple(found)


def _named(kept: Any) -> Mapping[str, Any]:
    return kept if isinstance(kept, Mapping) else {}


def _different(group: _Group, sides: Sequence[Mapping[str, Any]]) -> list[Differing]:
    # As JSON, in which null and the word "null", or none at all, are told apart.
    names = (name for name in dict.fromkeys(name for side in sides for name in side)
             if len({_json(side[name]) if name in side else "" for side in sides}) > 1)
    return [Differing(group, name, tuple(
        _text(side[name]) if name in side else None for side in sides)) for name in names]


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
