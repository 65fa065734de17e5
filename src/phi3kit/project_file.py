"""The text of phi3kit.yaml: every key with its default and its trade-off, or a recipe."""

from __future__ import annotations

import difflib
import textwrap
from pathlib import Path

import msgspec
import yaml

from phi3kit import settings
from phi3kit.errors import SettingsError
from phi3kit.files import write_named
from phi3kit.shipped import shipped

_WIDTH = 88
_HEAD = """\
# phi3kit.yaml: what every phi3kit command in this folder reads.
# Every key stands here at its default; take away the '# ' before a key to set it. Flags go
# before this file. `phi3kit <command> --dry-run` shows each value and where it comes from.
#
# Yours to fill in: ingest.corpus (documents), finetune.dataset (examples) and
# compare.questions (held out). Everything else works as it stands.
"""


def default_text() -> str:
    """Every key, commented out at its default, under its section, below its trade-off."""
    defaults = settings.flatten(msgspec.to_builtins(settings.Settings()))
    lines = [_HEAD]
    section = ""
    for key, description in settings.keys().items():
        head, _, name = key.rpartition(".")
        if head != section:
            section = head
            lines.append(f"\n{head}:" if head else "")
        indent = "  " if head else ""
        lines += textwrap.wrap(description, _WIDTH, initial_indent=f"{indent}## ",
                               subsequent_indent=f"{indent}## ", break_long_words=False,
                               break_on_hyphens=False)
        lines.append(f"{indent}# {name}: {_value(defaults[key])}")
    return "\n".join(lines) + "\n"


def write(*, recipe: str | None = None, force: bool = False) -> Path:
    """Write phi3kit.yaml into the working folder.

    Args:
        recipe: name of a recipe; None: every key at its default.
        force: replace a file that is there.

    Raises:
        SettingsError: there is one already; no such recipe.
        DataError: it cannot be written here.
    """
    path = Path(settings.FILE_NAME)
    if path.exists() and not force:
        raise SettingsError("is there already", where=str(path), mend="Replace it with --force")
    write_named(path, default_text() if recipe is None else _recipe_text(recipe),
                mend="Run this in a folder that you may write to")
    return path


def recipes() -> list[tuple[str, str]]:
    """Name and first line of every recipe, by name."""
    return [(path.stem, path.read_text(encoding="utf-8").splitlines()[0].lstrip("# "))
            for path in sorted(shipped("configs").glob("*.yaml"))]


def _recipe_text(name: str) -> str:
    path = shipped("configs") / f"{name}.yaml"
    names = [known for known, _ in recipes()]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        raise SettingsError(f"no recipe '{name}'", where="--recipe",
                            mend=f"Did you mean '{near[0]}'?" if near else
                            "`phi3kit init --list` names them")
    return path.read_text(encoding="utf-8")


def _value(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6,
                          allow_unicode=True).strip().removesuffix("\n...")
