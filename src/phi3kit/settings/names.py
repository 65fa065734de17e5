"""The dotted names of settings, such as "finetune.rank", and what is said of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from phi3kit.settings.schema import PATH, Settings

SECTIONS = frozenset(Settings.__struct_fields__) - {"runs"}


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}; settings are two levels deep at most."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update({f"{key}.{inner}": v for inner, v in value.items()})
        else:
            flat[key] = value
    return flat


def keys() -> dict[str, str]:
    """Every dotted key with its trade-off, in the order of the file."""
    found: dict[str, str] = {}
    for name, kind, description in _fields(Settings):
        if isinstance(kind, type) and issubclass(kind, Struct):
            found.update({f"{name}.{inner}": text for inner, _, text in _fields(kind)})
        else:
            found[name] = description
    return found


@cache
def paths() -> frozenset[str]:
    """Dotted keys of files and folders, and of lists of them."""
    found: set[str] = set()
    for name, kind, _ in _fields(Settings):
        inner = _fields(kind) if isinstance(kind, type) and issubclass(kind, Struct) else ()
        found.update(f"{name}.{own}" for own, value, _ in inner if _is_path(value))
        if _is_path(kind):
            found.add(name)
    return frozenset(found)


def _is_path(kind: Any) -> bool:
    if isinstance(kind, msgspec.inspect.Metadata):
        return PATH in (kind.extra or {}) or _is_path(kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        return any(map(_is_path, kind.types))
    return isinstance(kind, msgspec.inspect.VarTupleType) and _is_path(kind.item_type)


def _fields(struct: type[Struct]) -> Iterator[tuple[str, Any, str]]:
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    for item in info.fields:
        kind: Any = item.type
        description = ""
        if isinstance(kind, msgspec.inspect.Metadata):
            description = (kind.extra_json_schema or {}).get("description", "")
        if isinstance(kind, msgspec.inspect.StructType):
            kind = kind.cls
        yield item.name, kind, description
