"""`phi3kit ask`: an answer with citations."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from phi3kit import progress, settings
from phi3kit.cli import dry_run
from phi3kit.cli.choices import FILTER, RERANK, STORE, Retrieval, Unsupported, as_text
from phi3kit.errors import DataError
from phi3kit.records import Answer, as_json

if TYPE_CHECKING:
    from phi3kit.rag.assistant import Assistant


def ask(
    question: Annotated[str | None, typer.Argument(
        help="The question, in quotes. Without one, a conversation.")] = None,
    adapter: Annotated[str | None, typer.Option(
        help="Run folder of finetune (or adapter folder) to answer with.")] = None,
    no_rag: Annotated[bool, typer.Option(
        "--no-rag", help="Closed book: retrieve nothing, answer from the weights.")] = False,
    passages: Annotated[int | None, typer.Option(
        help="Passages put into the prompt.")] = None,
    retrieval: Annotated[Retrieval | None, typer.Option(
        help="By meaning, by shared words, or both.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(
        help="Longest answer, in tokens.")] = None,
    model: Annotated[str | None, typer.Option(
        help="Catalog name, hub id or folder of the base model.")] = None,
    generator: Annotated[str | None, typer.Option(
        metavar="URL", help="OpenAI-compatible server that answers instead of a local model.")] = (
        None),
    filter_: Annotated[list[str] | None, typer.Option(
        "--filter", metavar="KEY=VALUE", help=FILTER)] = None,
    rerank: Annotated[str | None, typer.Option(help=RERANK)] = None,
    min_similarity: Annotated[float | None, typer.Option(
        help="Cosine similarity of the nearest passage below which the answer is that it does "
             "not know.")] = None,
    unsupported: Annotated[Unsupported | None, typer.Option(
        help="An answer that no passage holds: show it and say so, or abstain.")] = None,
    collection: Annotated[str | None, typer.Option(
        help="Collection to retrieve from.")] = None,
    store: Annotated[str | None, typer.Option(help=STORE)] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    quantization: Annotated[str | None, typer.Option(
        help="nf4: the base in 4-bit; none; auto: as its adapter was trained.")] = None,
    as_json_: Annotated[bool, typer.Option(
        "--json", help="Print the answer as JSON, and nothing else on stdout.")] = False,
    dry: Annotated[bool, typer.Option(
        "--dry-run", help="Print each setting with its source and stop.")] = False,
) -> None:
    """Answer a question from the ingested documents, with citations to file and place."""
    resolved = settings.load({
        "ask.adapter": adapter, "ask.passages": passages, "ask.max_new_tokens": max_new_tokens,
        "ask.retrieval": retrieval.value if retrieval else None,
        "ask.filters": tuple(filter_) if filter_ else None, "ask.rerank": rerank,
        "ask.min_similarity": min_similarity,
        "ask.unsupported": unsupported.value if unsupported else None,
        "model.endpoint": generator, "model.name": model,
        "model.device": device, "model.quantization": quantization,
        "ingest.collection": collection, "ingest.store": store})
    if dry:
        dry_run.show(resolved, "model", "ingest", "ask")
        return
    if question is not None and not question.strip():
        raise DataError("the question is empty", mend='Ask for example: phi3kit ask "What …?"')
    if question is None and as_json_:
        raise typer.BadParameter("--json needs a question")

    from phi3kit.models.server_url import without_secrets
    from phi3kit.rag.assistant import open_assistant
    from phi3kit.report import terminal_answer

    chosen = resolved.values.model
    assistant = open_assistant(resolved.values, use_rag=not no_rag, on_model=lambda: progress.note(
        f"loading {chosen.name} …" if chosen.endpoint is None else
        f"asking {chosen.name} at {without_secrets(chosen.endpoint)} …"))
    if question is None:
        from phi3kit.cli.chat import chat

        chat(assistant, closed_book=no_rag)
        return
    answer = _answered(assistant, as_text(question), show=not as_json_)
    if as_json_:
        typer.echo(json.dumps(as_json(answer), ensure_ascii=False, indent=2))
    else:
        terminal_answer.print_sources(answer, closed_book=no_rag)


def _answered(assistant: Assistant, question: str, *, show: bool) -> Answer:
    """The answer; its pieces are shown as they come."""
    from phi3kit.report.terminal_answer import print_piece

    try:
        for piece in assistant.stream(question):
            if show:
                print_piece(piece)
    except KeyboardInterrupt:
        typer.echo("")
        progress.note("stopped")
        raise typer.Exit(130) from None
    answer = assistant.last
    assert answer is not None
    return answer
