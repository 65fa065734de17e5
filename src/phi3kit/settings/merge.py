"""Defaults < phi3kit.yaml < flags, merged here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from phi3kit.errors import SettingsError
from phi3kit.files import expanded
from phi3kit.parsing import refuse_deep_yaml
from phi3kit.settings.names import SECTIONS, flatten, paths
from phi3kit.settings.refused import converted, unknown
from phi3kit.settings.schema import Settings

FILE_NAME = "phi3kit.yaml"

Source = Literal["default", "file", "flag"]


@dataclass(frozen=True, slots=True)
class Resolved:
    """Merged settings and where each value came from.

    Attributes:
        values: the settings.
        sources: "default", "file" or "flag" by dotted key, for every key.
        file: the phi3kit.yaml that was read; None when there was none.
    """

    values: Settings
    sources: Mapping[str, Source]
    file: Path | None

    def items(self, *sections: str) -> Iterator[tuple[str, Any, Source]]:
        """(dotted key, value, source) of the named sections; of all when none is named."""
        for key, value in flatten(msgspec.to_builtins(self.values)).items():
            if not sections or key.split(".")[0] in sections:
                yield key, value, self.sources[key]


def load(flags: Mapping[str, Any] | None = None, *, folder: Path | None = None) -> Resolved:
    """Merge the defaults, `<folder>/phi3kit.yaml` and `flags`. A `~` of paths is expanded.

    Args:
        flags: dotted key to value; a value of None means that the flag was not given.
        folder: where phi3kit.yaml is looked for; None: the working folder.

    Raises:
        SettingsError: unreadable YAML, an unknown key (with the nearest valid one), or a
            value of the wrong type or out of bounds; names the file and the line or the flag.
    """
    path = (folder or Path()) / FILE_NAME
    tree: dict[str, Any] = {}
    lines: dict[str, int] = {}
    if path.is_file():
        tree, lines = _read(path)
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    in_file = set(flatten(tree))

    def place(key: str) -> str:
        if key in given:
            return "--" + key.rpartition(".")[2].replace("_", "-")
        return f"{path.name}:{lines[key]}" if key in lines else path.name

    if not all(isinstance(tree.get(section, {}), dict) for section in SECTIONS):
        converted(tree, place)  # `model: phi-3-mini`: refused before a flag is put into the name
    for key, value in given.items():
        section, _, name = key.rpartition(".")
        if section:
            tree.setdefault(section, {})[name] = value
        else:
            tree[name] = value

    valid = flatten(msgspec.to_builtins(Settings()))
    for key in flatten(tree):
        if key not in valid and key not in SECTIONS:
            raise unknown(key, valid, place)
    _expand(tree)
    values = converted(tree, place)
    sources: dict[str, Source] = {
        key: "flag" if key in given else "file" if key in in_file else "default"
        for key in flatten(msgspec.to_builtins(values))
    }
    return Resolved(values, sources, path if path.is_file() else None)


def _expand(tree: dict[str, Any]) -> None:
    """Put the home folder in the place of `~`, or a folder of that name would be made.

    Here and not where a path is used: what is shown and recorded is what is used.
    """
    for key, value in flatten(tree).items():
        texts = value if isinstance(value, (list, tuple)) else [value]
        if any(map(_has_tilde, texts)) and key in paths():
            # Others stay as they were written: "./docs" as "docs" would be another run's.
            own = [str(expanded(text)) if _has_tilde(text) else text for text in texts]
            section, _, name = key.rpartition(".")
            (tree[section] if section else tree)[name] = own if texts is value else own[0]


def _has_tilde(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("~")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The file's tree and the 1-based line of every dotted key."""
    import yaml  # only where there is a file to read

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = path.read_text(encoding="utf-8")
        refuse_deep_yaml(text)
        node = yaml.compose(text, Loader=loader)
        tree = yaml.load(text, Loader=loader)
    except UnicodeDecodeError as error:
        raise SettingsError("not UTF-8", where=path.name, mend="Save it as UTF-8") from error
    except OSError as error:
        raise SettingsError(f"cannot be read ({error.strerror or error})", where=path.name,
                            mend="Give yourself the right to read it") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path.name}:{mark.line + 1}" if mark else path.name
        raise SettingsError(f"not valid YAML: {getattr(error, 'problem', None) or error}",
                            where=where, mend="Mind the indentation and the colons") from error
    if tree is None:
        return {}, {}
    if not isinstance(tree, dict):
        raise SettingsError("expected keys such as 'model:' at the top", where=path.name)
    lines: dict[str, int] = {}
    assert isinstance(node, yaml.MappingNode)
    for key_node, value_node in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in lines:
            what = "section" if key in SECTIONS else "key"
            raise SettingsError(f"the {what} '{key}' stands twice, first on line {lines[key]}",
                                where=f"{path.name}:{line}", mend="Make one of the two")
        lines[key] = line
        if isinstance(value_node, yaml.MappingNode):
            for inner, _ in value_node.value:
                dotted = f"{key}.{inner.value}"
                if dotted in lines:
                    raise SettingsError(f"the key '{dotted}' stands twice",
                                        where=f"{path.name}:{inner.start_mark.line + 1}")
                lines[dotted] = inner.start_mark.line + 1
    # `model:` with every key commented out is an empty section, not an error.
    return {str(k): {} if v is None and str(k) in SECTIONS else v
            for k, v in tree.items()}, lines
