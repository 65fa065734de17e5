"""`phi3kit init`: a project file, from the defaults or from a recipe."""

from __future__ import annotations

from typing import Annotated

import typer


def init(
    recipe: Annotated[str | None, typer.Option(
        help="Start from a ready recipe; see --list.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a phi3kit.yaml that is "
                                                        "there.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Name the recipes and stop.")] = False,
) -> None:
    """Write phi3kit.yaml here: every key with its default and its trade-off."""
    from phi3kit import project_file

    if list_:
        for name, summary in project_file.recipes():
            typer.echo(f"{name:<24} {summary}")
        return
    typer.echo(f"wrote {project_file.write(recipe=recipe, force=force)}")
