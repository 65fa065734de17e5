"""JSON and YAML that people wrote: what is broken in it is an error, however it is broken."""

from __future__ import annotations

import json
import re
from typing import Any

# Nesting that nobody writes by hand; far below what ends the parsers' stack.
_DEPTH = 100
_FENCE = re.compile(r"^```\w*\n(.*)\n```$", re.DOTALL)
_HALF = "half of a surrogate pair (\\ud800 to \\udfff alone), which is no character"


def read_json(text: str) -> Any:
    """The value that a JSON text holds.

    Raises:
        ValueError: not JSON, nested too deeply to be read, or with a text in it that UTF-8
            cannot hold and that so could be written nowhere.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except json.JSONDecodeError as error:
        # Its line is the text's, which may be one of a file's: "line 1" would be another one.
        if "\n" in text.rstrip("\n"):
            raise
        raise ValueError(f"{error.msg}: column {error.colno}") from error
    if "\\ud" in text.casefold():
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(_HALF) from error
    return value


def whole_json(text: str) -> Any:
    """The JSON object or list that a text is, code fences aside; None if it is none or empty."""
    try:
        value = json.loads(unfenced(text))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) and value else None


def is_json(text: str) -> bool:
    """Whether a text is a JSON object or list, an empty one too, code fences aside."""
    return whole_json(text) is not None or unfenced(text) in ("{}", "[]")


def unfenced(text: str) -> str:
    """A text, stripped, without the code fence that it stands in as a whole."""
    fenced = _FENCE.match(text.strip())
    return (fenced.group(1) if fenced else text).strip()


def refuse_deep_yaml(text: str | bytes) -> None:
    """Raise what a YAML parser raises when `text` is no YAML, or nested too deeply to be built.

    libyaml builds its trees by recursion in C: without this a file of 400 KB ends the process.

    Raises:
        yaml.YAMLError: with the mark of the place, as usual.
    """
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEPTH:
            raise yaml.MarkedYAMLError(
                problem=f"nested deeper than {_DEPTH} levels",
                problem_mark=event.start_mark)  # type: ignore[arg-type]  # libyaml's own kind
