"""`phi3kit search`: the passages that a question would be answered from, and their scores."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from phi3kit import settings
from phi3kit.cli import dry_run
from phi3kit.cli.choices import FILTER, RERANK, STORE, Retrieval, as_text
from phi3kit.errors import DataError
from phi3kit.records import as_json


def search(
    question: Annotated[str, typer.Argument(help="The question or the words, in quotes.")],
    passages: Annotated[int | None, typer.Option(help="Passages to show.")] = None,
    retrieval: Annotated[Retrieval | None, typer.Option(
        help="By meaning, by shared words, or both.")] = None,
    filter_: Annotated[list[str] | None, typer.Option(
        "--filter", metavar="KEY=VALUE", help=FILTER)] = None,
    rerank: Annotated[str | None, typer.Option(help=RERANK)] = None,
    collection: Annotated[str | None, typer.Option(help="Collection to search.")] = None,
    store: Annotated[str | None, typer.Option(help=STORE)] = None,
    as_json_: Annotated[bool, typer.Option(
        "--json", help="Print the passages as JSON, and nothing else on stdout.")] = False,
    dry: Annotated[bool, typer.Option(
        "--dry-run", help="Print each setting with its source and stop.")] = False,
) -> None:
    """Show the passages for a question, best first; no model answers."""
    resolved = settings.load({
        "ask.passages": passages, "ask.retrieval": retrieval.value if retrieval else None,
        "ask.filters": tuple(filter_) if filter_ else None, "ask.rerank": rerank,
        "ingest.collection": collection, "ingest.store": store})
    if dry:
        dry_run.show(resolved, "ingest", "ask")
        return
    if not question.strip():
        raise DataError("there is nothing to search for",
                        mend='Search for example: phi3kit search "seal of the K-310"')

    from phi3kit.rag.retrieve import open_retriever
    from phi3kit.report import terminal_answer

    ask = resolved.values.ask
    retriever, asked = open_retriever(resolved.values), [as_text(question)]
    found = retriever.retrieve(asked, ask.passages, -1.0)[0]
    if as_json_:
        typer.echo(json.dumps([as_json(passage) for passage in found], ensure_ascii=False,
                              indent=2))
    else:
        least = ask.min_similarity
        # Words or a reranker may have put others in front of what is nearest.
        far = (all((passage.score or 0.0) < least for passage in found)
               and retriever.similarities(asked)[0] < least)
        terminal_answer.print_passages(found, missed=least if far else None)
