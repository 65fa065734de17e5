"""What a model answers without any passage: whether training would teach it something new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from phi3kit.dataset.examples import Example
from phi3kit.dataset.heldout import normalise
from phi3kit.errors import ModelError
from phi3kit.progress import bar, note
from phi3kit.rag.prompt import is_abstention
from phi3kit.records import KnownAnswers, Message

if TYPE_CHECKING:
    from phi3kit.models.generate import Generation, Generator
    from phi3kit.settings import Settings


def known_answers(settings: Settings, trained: Sequence[tuple[Example, list[Message]]],
                  ) -> KnownAnswers:
    """Which of the examples the base model answers as they do, before any training.

    Every example is put as training puts it, without its last answer.

    Args:
        trained: examples with the messages that they are trained on.

    Raises:
        ModelError: the model cannot be loaded or reached.
    """
    generator = open_base(settings)
    found: dict[int, Generation] = {}
    with bar("asking the base model", len(trained)) as advance:
        def keep(places: list[int], answers: list[Generation]) -> None:
            found.update(zip(places, answers, strict=True))
            advance(len(places))

        generator.generate(
            [chat[:-1] for _, chat in trained], max_new_tokens=settings.ask.max_new_tokens,
            batch_tokens=settings.compare.batch_tokens, on_batch=keep)
    lines = tuple(example.line for at, (example, chat) in enumerate(trained)
                  if gives(found[at].text, chat[-1]["content"]))
    return KnownAnswers(len(trained), lines, sum(bool(a.error) for a in found.values()))


def open_base(settings: Settings) -> Generator:
    """The model of the settings without any adapter, here or behind `model.endpoint`.

    Raises:
        ModelError: it cannot be loaded, or the endpoint is no URL.
    """
    if settings.model.endpoint is not None:
        from phi3kit.models.endpoint import EndpointGenerator

        return EndpointGenerator(settings.model)
    from phi3kit.models.generate import open_generator

    note(f"loading {settings.model.name} …")
    return open_generator(settings.model)


def gives(output: str, answer: str) -> bool:
    """Whether `output` gives `answer`: it holds its words in a row, or abstains as it does.

    Case and punctuation do not count. Long answers are hardly ever given word for word, so
    this finds labels, names and values, and understates what the model knows of prose.
    """
    if is_abstention(answer) or is_abstention(output):
        return is_abstention(answer) and is_abstention(output)
    wanted = normalise(answer)
    return bool(wanted) and f" {wanted} " in f" {normalise(output)} "


def failed(generations: Sequence[Generation]) -> None:
    """Raise when every answer failed: going on would fail alike.

    Raises:
        ModelError: with the first answer's reason.
    """
    if generations and all(g.error for g in generations):
        raise ModelError(f"no answer from the model: {generations[0].error}",
                         mend="Check --model, model.endpoint and ask.max_new_tokens")
