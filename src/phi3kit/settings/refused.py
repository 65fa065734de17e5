"""What cannot be a setting, told in one line with the place where it stands."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from phi3kit.errors import SettingsError
from phi3kit.settings.names import SECTIONS, paths
from phi3kit.settings.schema import Settings

_NO_CHOICE = re.compile("Invalid enum value ('.*')")
# What msgspec calls the kinds of values, for people who write YAML.
_KINDS = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true or false",
          "array": "a list", "object": "names with values", "null": "null"}


def unknown(key: str, valid: Collection[str], place: Callable[[str], str]) -> SettingsError:
    """The error for a key that there is not, with the nearest that there is.

    Args:
        valid: all dotted keys.
        place: file and line, or flag, of a key.
    """
    section, _, name = key.rpartition(".")
    near = difflib.get_close_matches(key, valid, n=1, cutoff=0.6)
    if not near:  # right name in the wrong section
        near = [full for full in valid if full.rpartition(".")[2] == name][:1]
    if not near and not section:
        near = difflib.get_close_matches(key, SECTIONS, n=1, cutoff=0.5)
    mend = f"Did you mean '{near[0]}'?" if near else "See `phi3kit init` for the valid keys"
    return SettingsError(f"unknown key '{key}'", where=place(key), mend=mend)


def converted(tree: Mapping[str, Any], place: Callable[[str], str]) -> Settings:
    """The tree as settings.

    Args:
        place: file and line, or flag, of a key.

    Raises:
        SettingsError: a value of the wrong type or out of bounds.
    """
    try:
        # Not strict: YAML 1.1 reads 2e-4 (no dot) as text, and everybody writes it so.
        return msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        what, _, at = str(error).partition(" - at ")
        key = at.rpartition("`$.")[2].rstrip("`").split("[")[0]
        strange = _NO_CHOICE.fullmatch(what)
        said = f"there is no {strange[1]}" if strange else _plainly(what)
        mend = f"Take one of {', '.join(_choices(key))}" if strange else None
        if key in paths() and "of length" in what:
            said = "the path is empty, as from a variable that is not set"
            mend = "Name a file or folder; the working folder is '.'"
        if key in SECTIONS:
            first = get_type_hints(Settings)[key].__struct_fields__[0]
            mend = f"Write {key}: {{{first}: …}}"
        raise SettingsError(f"'{key}': {said}" if key else said, where=place(key),
                            mend=mend) from error


def _plainly(what: str) -> str:
    """msgspec's "Expected `int`, got `str`" as "expected a whole number, got text"."""
    said = re.sub("`([^`]*)`", lambda found: " or ".join(
        _KINDS.get(kind, kind) for kind in found[1].split(" | ")), what)
    return said[:1].lower() + said[1:]


def _choices(key: str) -> list[str]:
    """The words that the value of a key can be, or that stand in its list or as its names."""
    kind: Any = Settings
    for name in key.split("."):
        kind = get_type_hints(kind)[name]
    return list(_words(kind))


def _words(kind: Any) -> Iterator[str]:
    if get_origin(kind) is Literal:
        yield from get_args(kind)
    else:
        for part in get_args(kind):
            yield from _words(part)
