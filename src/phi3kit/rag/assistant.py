"""Questions in, checked answers out: what `ask` runs and what `compare` measures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from phi3kit.errors import DataError, ModelError
from phi3kit.parsing import is_json
from phi3kit.progress import note
from phi3kit.rag.citations import CheckedText, Checker, check
from phi3kit.rag.claims import unsupported
from phi3kit.rag.evidence import is_told
from phi3kit.rag.prompt import ABSTENTION, build, is_abstention
from phi3kit.records import Answer, Message, Passage

if TYPE_CHECKING:
    from phi3kit.models.generate import Generation, Generator
    from phi3kit.rag.retrieve import Retriever
    from phi3kit.settings import AskSettings, Settings

OnAnswers = Callable[[list[int], list[Answer]], None]


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A question made ready. No messages: abstain, or say why in `error`.

    Attributes:
        crowded: there is no room for the best passage, and so for none.
    """

    question: str
    passages: tuple[Passage, ...]
    messages: list[Message] | None
    tokens: int = 0
    error: str = ""
    crowded: bool = False


class Assistant:
    """Answers from retrieved passages, or closed book when there is no retriever.

    Attributes:
        last: the answer to the question that was streamed last; None before that.
    """

    def __init__(
        self, generator: Generator, retriever: Retriever | None, ask: AskSettings,
    ) -> None:
        self._generator = generator
        self._retriever = retriever
        self._ask = ask
        self.last: Answer | None = None

    def answer_all(
        self, questions: Sequence[str], *, batch_tokens: int, on_answers: OnAnswers | None = None,
        histories: Sequence[Sequence[Message]] | None = None,
    ) -> list[Answer]:
        """Answer many questions at once.

        Args:
            questions: one that cannot be asked (empty, or longer than the model's context)
                gets an answer with `error` and does not stop the others.
            batch_tokens: prompt tokens, padding included, that one batch may hold.
            on_answers: called with indices into `questions` and their answers as soon as
                these are there, so that they can be kept; each index comes once.
            histories: earlier turns for each question, as `stream` takes them.

        Returns:
            One answer per question, in order.
        """
        started = time.perf_counter()
        prompts = self._prepare(questions, histories or [()] * len(questions))
        share = (time.perf_counter() - started) / max(1, len(prompts))
        answers: dict[int, Answer] = {}

        def keep(indices: list[int], found: list[Answer]) -> None:
            answers.update(zip(indices, found, strict=True))
            if on_answers is not None and indices:
                on_answers(indices, found)

        silent = [i for i, prompt in enumerate(prompts) if prompt.messages is None]
        keep(silent, [_unasked(prompts[i], share) for i in silent])
        asked = [i for i, prompt in enumerate(prompts) if prompt.messages is not None]

        def on_batch(positions: list[int], generations: list[Generation]) -> None:
            indices = [asked[position] for position in positions]
            keep(indices, [self._held(_answer(prompts[i], generation, share))
                           for i, generation in zip(indices, generations, strict=True)])

        if asked:
            self._generator.generate(
                [prompts[i].messages or [] for i in asked],
                max_new_tokens=self._ask.max_new_tokens, batch_tokens=batch_tokens,
                on_batch=on_batch)
        return [answers[i] for i in range(len(prompts))]

    def stream(self, question: str, history: Sequence[Message] = ()) -> Iterator[str]:
        """Answer one question piece by piece; afterwards `last` is the whole answer.

        The pieces hold checked citations only, and joined they are `last.text`. Where it may be
        withheld (`ask.unsupported`), nothing comes before it cites one. Closing the iterator stops
        the model.

        Args:
            history: earlier turns, user and assistant in turn. Passages are searched for with
                the last of its questions too, for "and how often?" finds nothing by itself.
                What the context has no room for is left out, the oldest first.

        Raises:
            DataError: the question is empty, or longer than the model's context.
        """
        started = time.perf_counter()
        self.last = None
        prompt = self._prepare([question], [history])[0]
        if prompt.error:
            raise DataError(prompt.error)
        if prompt.messages is None:
            self.last = _unasked(prompt, time.perf_counter() - started)
            yield self.last.text
            return
        checker = Checker(prompt.passages or None, question=question)
        waits = self._ask.unsupported == "abstain" and bool(prompt.passages)
        if waits:
            note("it is shown as soon as it cites a passage (ask.unsupported) …")
        written = held = ""
        pieces = self._generator.stream(
            prompt.messages, max_new_tokens=self._ask.max_new_tokens)
        for piece in pieces:
            written += piece
            held += checker.feed(piece)
            waits = waits and not checker.cites
            if held and not waits:
                yield held
                held = ""
        held += checker.close()
        waits = waits and not checker.cites
        if held and not waits:
            yield held
        self.last = self._held(_checked(
            prompt, checker.result(), tokens_out=self._count(written),
            seconds=time.perf_counter() - started))
        if waits:
            yield self.last.text

    def _held(self, answer: Answer) -> Answer:
        """The answer, or an abstention where no passage holds it and that is what is wanted.

        What is whole JSON stands, for in it nothing is cited.
        """
        if (self._ask.unsupported == "show" or not answer.passages or answer.citations
                or answer.abstained or answer.error or not answer.text or is_json(answer.text)
                or (not answer.unsupported
                    and is_told(answer.text, answer.passages, answer.question))):
            return answer
        return replace(answer, text=ABSTENTION, abstained=True, withheld=answer.text,
                       unsupported=())

    def _count(self, written: str) -> int:
        """Tokens of a text: what it adds to a prompt, for a stream brings no count."""
        empty, full = (self._generator.count_tokens([{"role": "user", "content": content}])
                       for content in ("", written))
        return full - empty

    def _prepare(self, questions: Sequence[str],
                 histories: Sequence[Sequence[Message]]) -> list[_Prompt]:
        both = list(zip(questions, histories, strict=True))
        if self._retriever is None:
            return [self._fit(question, None, history) for question, history in both]
        wanted = [f"{_last_question(history)}\n{question}".strip() for question, history in both]
        found = self._retriever.retrieve(wanted, self._ask.passages, self._ask.min_similarity)
        return [self._with_fewer(self._fit(question, passages, history), asked, history)
                for (question, history), passages, asked in zip(both, found, wanted, strict=True)]

    def _with_fewer(self, prompt: _Prompt, wanted: str, history: Sequence[Message]) -> _Prompt:
        """The prompt, or one of fewer passages: those that follow each other are one too long."""
        assert self._retriever is not None
        fewer = prompt
        for k in range(self._ask.passages - 1, 0, -1) if prompt.crowded else ():
            (passages,) = self._retriever.retrieve([wanted], k, self._ask.min_similarity)
            fewer = self._fit(prompt.question, passages, history)
            if not fewer.error:
                return fewer
        return fewer

    def _fit(self, question: str, passages: tuple[Passage, ...] | None,
             history: Sequence[Message]) -> _Prompt:
        """The prompt with as much of history and passages as the context leaves room for."""
        if not question.strip():
            return _Prompt(question, (), None, error="the question is empty")
        limit = self._ask.max_new_tokens
        room = self._generator.context - limit
        shown, earlier = passages, list(history)
        while shown is None or shown:
            system, asked = build(question, shown, instruction=self._ask.instruction)
            messages = [system, *earlier, asked]
            tokens = self._generator.count_tokens(messages)
            if tokens <= room:
                return _Prompt(question, shown or (), messages, tokens)
            if earlier:
                earlier = earlier[2:]
            elif shown:
                shown = shown[:-1]
            else:
                break
        if not passages and passages is not None:
            return _Prompt(question, (), None)
        return _Prompt(question, (), None, error=(
            f"the question needs {tokens} tokens, and the model has room for {max(0, room)} "
            f"beside an answer of {limit} (--max-new-tokens). "
            f"{_shorten(self._generator.context - tokens)}"), crowded=bool(passages))


def _shorten(left: int) -> str:
    """The mend, when a prompt alone leaves room for so many tokens of an answer."""
    return (f"Set --max-new-tokens to {left} or less" if left > 0 else
            "Ask a shorter question, or take a model with a longer context")


def _last_question(history: Sequence[Message]) -> str:
    return next((m["content"] for m in reversed(history) if m["role"] == "user"), "")


def open_assistant(settings: Settings, *, use_rag: bool = True,
                   on_model: Callable[[], None] | None = None) -> Assistant:
    """The assistant that `settings` describe: model, adapter, collection.

    Args:
        settings: the adapter is `ask.adapter`, the collection `ingest.collection`.
        use_rag: False answers closed book; no collection is needed then.
        on_model: called when the collection is open, before the model is loaded.

    Raises:
        StoreError: the collection is missing or was built with another embedder.
        ModelError: model or adapter cannot be found, loaded or combined.
    """
    from phi3kit.rag.retrieve import open_retriever

    # The retriever first: what it can find wrong is found in a second, not after loading.
    retriever = open_retriever(settings) if use_rag else None
    if on_model is not None:
        on_model()
    adapter = Path(settings.ask.adapter) if settings.ask.adapter else None
    return Assistant(open_generator(settings, adapter=adapter), retriever, settings.ask)


def open_generator(settings: Settings, *, adapter: Path | None = None) -> Generator:
    """What answers: a model in this process, or the server that `model.endpoint` names.

    Raises:
        ModelError: the model or the adapter cannot be found, loaded or combined; an adapter
            for a server.
    """
    if settings.model.endpoint is None:
        from phi3kit.models import generate

        return generate.open_generator(settings.model, adapter=adapter)
    from phi3kit.models.endpoint import EndpointGenerator

    if adapter is not None:
        raise ModelError("an adapter cannot be put on a server's model from here",
                         where="ask.adapter",
                         mend="Let the server load it and name it with --model, or leave out "
                              "model.endpoint")
    return EndpointGenerator(settings.model)


def _unasked(prompt: _Prompt, seconds: float) -> Answer:
    """The answer without a model: nothing was retrieved, or the question cannot be asked."""
    text = "" if prompt.error else ABSTENTION
    return Answer(prompt.question, text, not prompt.error, (), (), (), 0, 0, seconds,
                  prompt.error)


def _answer(prompt: _Prompt, generation: Generation, preparing: float) -> Answer:
    checked = check(generation.text, prompt.passages or None, question=prompt.question)
    return _checked(prompt, checked, tokens_in=generation.tokens_in,
                    tokens_out=generation.tokens_out, seconds=preparing + generation.seconds,
                    error=generation.error)


def _checked(
    prompt: _Prompt, checked: CheckedText, *, tokens_out: int, seconds: float,
    tokens_in: int | None = None, error: str = "",
) -> Answer:
    # Where nothing is cited, a claim may still stand in one of those shown.
    backing = ({c.number: c.passage for c in checked.citations}
               or dict(enumerate(prompt.passages, start=1)))
    return Answer(
        question=prompt.question, text=checked.text, abstained=is_abstention(checked.text),
        citations=checked.citations, removed_citations=checked.removed,
        passages=prompt.passages, tokens_in=prompt.tokens if tokens_in is None else tokens_in,
        tokens_out=tokens_out, seconds=seconds, error=error,
        unsupported=unsupported(checked.text, backing, prompt.question) if backing else ())
