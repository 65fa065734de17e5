"""`phi3kit doctor`: what is here, and how to mend what is not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from phi3kit.cli.choices import STORE

if TYPE_CHECKING:
    from phi3kit.records import Check


def doctor(
    collection: Annotated[str | None, typer.Option(help="Collection to check.")] = None,
    store: Annotated[str | None, typer.Option(help=STORE)] = None,
    as_json_: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Check this machine and the collection's index; each failure with its mend."""
    from phi3kit.records import as_json
    from phi3kit.report.terminal_checks import print_check

    found = []
    for check in _checks({"ingest.collection": collection, "ingest.store": store}):
        found.append(check)
        if not as_json_:
            print_check(check)
    if as_json_:
        typer.echo(json.dumps([as_json(check) for check in found], indent=2, ensure_ascii=False))
    raise typer.Exit(int(any(check.ok is False for check in found)))


def _checks(flags: Mapping[str, str | None]) -> Iterator[Check]:
    from phi3kit.plan.checks import guarded, run_checks

    yield from run_checks()
    yield guarded("index", lambda: _index(flags))


def _index(flags: Mapping[str, str | None]) -> Check:
    from phi3kit import settings
    from phi3kit.ingest.health import check_index

    return check_index(settings.load(flags).values.ingest)
