"""The form that answers must have: a regular expression or a JSON schema, by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from phi3kit.errors import DataError
from phi3kit.parsing import read_json, refuse_deep_yaml

Test = Callable[[str], bool]
Formats = Mapping[str, Test]

MEND = ('Write for example "code: {regex: \'[A-Z]{2}-\\d+\'}" or '
         '"ticket: {schema: ticket.schema.json}"')


def read_formats(path: Path | None) -> Formats:
    """The formats of a YAML or JSON file, each as a test of an answer's text.

    Each name has `regex`, which the whole text must match, or `schema`, a JSON schema itself
    or the file that holds one, which the text must satisfy once it is parsed. A schema may
    not refer to anything outside of itself: nothing is fetched.

    Raises:
        DataError: the file cannot be read, or a format is none.
    """
    return {} if path is None else {
        name: _test(name, value, path) for name, value in _tree(path).items()}


def _tree(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        refuse_deep_yaml(text)
        tree = yaml.safe_load(text)
    except FileNotFoundError as error:
        raise DataError("there is no such file", where=str(path),
                        mend="Correct compare.formats") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        first = next(iter(str(error).splitlines()), "")
        raise DataError(f"cannot be read as YAML or JSON ({first})", where=str(path)) from error
    if not isinstance(tree, dict):
        raise DataError("expected names of formats at the top", where=str(path), mend=MEND)
    return {str(name): value for name, value in tree.items()}


def _test(name: str, value: Any, path: Path) -> Test:
    if not isinstance(value, dict) or len(value) != 1 or not value.keys() <= {"regex", "schema"}:
        raise DataError(f"the format '{name}' has neither regex nor schema alone",
                        where=str(path), mend=MEND)
    if "regex" in value:
        return _by_regex(name, value["regex"], path)
    return _by_schema(name, value["schema"], path)


def _by_regex(name: str, pattern: Any, path: Path) -> Test:
    try:
        compiled = re.compile(pattern)
    except (re.error, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"the format '{name}': not a regular expression ({error})",
                        where=str(path)) from error
    return lambda text: compiled.fullmatch(text) is not None


def _by_schema(name: str, schema: Any, path: Path) -> Test:
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    if isinstance(schema, str):
        schema = _json(path.parent / schema)
    try:
        kind = validator_for(schema, default=Draft202012Validator)
        kind.check_schema(schema)
    except (SchemaError, TypeError, AttributeError, RecursionError) as error:
        first = next(iter(str(error).splitlines()), "")
        raise DataError(f"the format '{name}': not a JSON schema ({first})",
                        where=str(path)) from error
    # With a registry of its own, a validator fetches nothing.
    validator = kind(schema, registry=Registry())

    def test(text: str) -> bool:
        try:
            value = read_json(text)
        except ValueError:
            return False
        try:
            return bool(validator.is_valid(value))
        except RecursionError:
            return False  # nested deeper than a schema can be followed
        except Unresolvable as error:
            raise DataError(f"the format '{name}' refers to something outside of itself "
                            f"({error.ref})", where=str(path),
                            mend="Put what it refers to under $defs") from error

    return test


def _json(path: Path) -> Any:
    try:
        return read_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read as JSON ({error})", where=str(path)) from error
