"""Settings as a run folder's record keeps them: written here, and read here alone.

run.json has them by dotted key, each with its source; where a program gave them and they have none,
as the tree under "values".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from phi3kit.settings.merge import Resolved
from phi3kit.settings.names import flatten, keys
from phi3kit.settings.schema import Settings

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def record(settings: Settings, resolved: Resolved | None) -> dict[str, Any]:
    """What run.json has under "settings".

    Args:
        resolved: the same settings with their sources; None where a program gave them.
    """
    if resolved is None:
        return {"values": msgspec.to_builtins(settings)}
    return {key: {"value": value, "source": source} for key, value, source in resolved.items()}


def flat(state: Mapping[str, Any]) -> dict[str, Any]:
    """{dotted key: value} of a run's record, keys that are none any more included.

    Args:
        state: run.json.
    """
    kept = state.get("settings")
    if not isinstance(kept, Mapping):
        return {}
    if isinstance(kept.get("values"), Mapping):
        return flatten(kept["values"])
    return {str(key): entry["value"] for key, entry in kept.items()
            if isinstance(entry, Mapping) and "value" in entry}


def flags(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """Those of them that were flags; None where a program gave all of them."""
    kept = state.get("settings") or {}
    if "values" in kept:
        return None
    return {key: value for key, value in flat(state).items()
            if kept[key].get("source") == "flag"}


def read(state: Mapping[str, Any], instead: Mapping[str, Any] = _NOTHING) -> Settings:
    """The settings of a run, from its record; keys that are none any more are left out.

    Args:
        state: run.json.
        instead: values by dotted key that take the place of recorded ones.

    Raises:
        KeyError: it has no settings.
        ValueError: a value that its key does not take.
    """
    values = flat(state)
    if not values:
        raise KeyError("settings")
    values |= instead
    tree: dict[str, Any] = {}
    for key in keys():
        if key in values:
            section, _, name = key.rpartition(".")
            (tree.setdefault(section, {}) if section else tree)[name] = values[key]
    return msgspec.convert(tree, Settings)
