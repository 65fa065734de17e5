"""A group of commands that are built one by one, when they are asked for.

Typer builds every command at each start, from the annotations of its function: for thirteen
that takes longer than all that a quick one does. `--help` needs them all, a command itself alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import typer
from typer.core import TyperGroup


class _OneByOne(Mapping[str, Any]):
    """Click's commands by name, in the order of `made`.

    Args:
        made: a command's function, or the Typer app of several, by name.
    """

    def __init__(self, made: Mapping[str, Callable[..., None] | typer.Typer]) -> None:
        self._made = made
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            app = self._made[name]
            if not isinstance(app, typer.Typer):
                function, app = app, typer.Typer(add_completion=False, rich_markup_mode=None)
                app.command(name)(function)
            self._built[name] = typer.main.get_command(app)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


def group_of(made: Mapping[str, Callable[..., None] | typer.Typer]) -> type[TyperGroup]:
    """The `cls` of a Typer app with the commands of `made`: functions, or apps of several."""

    class Group(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**{**attributes, "commands": _OneByOne(made)})

    return Group
