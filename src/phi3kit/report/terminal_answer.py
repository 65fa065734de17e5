"""An answer on the terminal: the text as it comes, then its sources."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import typer

from phi3kit.progress import note
from phi3kit.records import Answer, Passage

_QUOTE = 100
# Marks that turn the direction of what follows could make a source read as another one.
_DIRECTION = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def print_piece(piece: str) -> None:
    """Show the next piece of an answer on stdout, at once and without control characters."""
    typer.echo(plain(piece), nl=False)


def print_sources(answer: Answer, *, closed_book: bool = False) -> None:
    """Show what stands behind an answer whose text has been shown.

    On stdout the cited passages, each with its place and a quote, or that no passage holds
    the answer; on stderr what was removed. With the packaged model on the sample's held-out
    questions, no passage held 26 of the 35 answers given to unanswerable ones, and 3 of 52
    right ones (docs/log.md).
    """
    typer.echo("")
    if answer.citations:
        typer.echo("\nSources")
    for citation in sorted(answer.citations, key=lambda c: c.number):
        typer.echo(f"[{citation.number}] {_one_line(citation.passage.place)}")
        typer.echo(f"    “{_quote(citation.passage, answer.text)}”")
    if answer.unsupported and answer.citations:
        claims = ", ".join(f"{claim.kind} “{_one_line(claim.text)}”"
                           for claim in answer.unsupported)
        # On stdout, for the same reason as below.
        typer.echo(f"\nUnsupported, for no cited passage says it: {claims}")
    if answer.removed_citations:
        numbers = ", ".join(f"[{number}]" for number in answer.removed_citations)
        note(f"removed, for they point at no passage: {numbers}")
    if answer.withheld:
        note(f"withheld (ask.unsupported), for none of the {len(answer.passages)} passages shown "
             f"holds it: {_one_line(answer.withheld)}")
    if closed_book:
        note("closed book: no document backs this answer")
    elif not answer.citations and not answer.abstained:
        # On stdout: who pipes the answer on must not lose that it is not one.
        typer.echo(f"\nI do not know: none of the {len(answer.passages)} passages shown holds "
                   "the answer above.")


def print_passages(passages: Sequence[Passage], *, missed: float | None = None) -> None:
    """Show passages with their scores and places, whole.

    Args:
        missed: the least similarity that `ask` answers from, where no passage reaches it, shown
            or not.
    """
    if not passages:
        typer.echo("No passage shares anything with the question.")
    for number, passage in enumerate(passages, start=1):
        typer.echo(f"[{number}] {passage.score or 0.0:.2f}  {_one_line(passage.place)}")
        for line in plain(passage.text).splitlines():
            if line.strip():
                typer.echo(f"    {line.rstrip()}")
    if passages and missed is not None:
        note(f"no passage reaches ask.min_similarity ({missed:g}): `phi3kit ask` would "
             "say that it does not know")


def plain(text: str) -> str:
    """`text` without control characters, but for line feeds and tabs."""
    return "".join(c for c in text if c in "\n\t" or (
        unicodedata.category(c) not in ("Cc", "Cs") and c not in _DIRECTION))


def _one_line(text: str) -> str:
    return " ".join(plain(" ".join(text.split())).split())


def _quote(passage: Passage, answer: str) -> str:
    """The passage's sentence that shares the most words with the answer, cut to a line."""
    said = set(re.findall(r"\w+", answer.casefold()))
    sentences = [s for s in re.split(r"(?<=[.!?])\s+(?![\da-z])|\n+", passage.text) if s.strip()]
    best = max(sentences, default="", key=lambda s: len(
        said & set(re.findall(r"\w+", s.casefold()))))
    line = _one_line(best)
    return line if len(line) <= _QUOTE else f"{line[:_QUOTE - 1].rstrip()}…"
