"""Records out, as JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from phi3kit.dataset.examples import Example


def json_lines(records: Iterable[Mapping[str, Any]]) -> str:
    """One JSON object per line; half a surrogate pair, which UTF-8 cannot hold, becomes "?"."""
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    return text.encode("utf-8", "replace").decode("utf-8")


def as_record(example: Example, **more: Any) -> dict[str, Any]:
    """An example as `finetune` reads it, with its sources and kind where it has any."""
    found: dict[str, Any] = {"messages": list(example.messages), **more}
    if example.source_ids:
        found["source_ids"] = list(example.source_ids)
    if example.kind:
        found["kind"] = example.kind
    return found
