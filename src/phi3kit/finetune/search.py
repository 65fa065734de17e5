"""The passages that examples are trained with: looked up once, by the first process, for all."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from phi3kit.dataset.examples import Example
from phi3kit.dataset.prompts import chats, with_passages
from phi3kit.finetune.processes import Processes
from phi3kit.progress import bar
from phi3kit.rag.apart import ApartRetriever
from phi3kit.records import Message
from phi3kit.settings import Settings


class Search:
    """A collection that is open for `finetune.passages`; a context manager, which lets go of it.

    Args:
        settings: of the run.
        examples: that it is trained on.
        team: the processes that train it.

    Attributes:
        fingerprint: what is searched and how, the same in all processes; None where no example
            is to carry passages.

    Raises:
        StoreError, ModelError: as `open_retriever`.
    """

    def __init__(self, settings: Settings, examples: Sequence[Example], team: Processes) -> None:
        self._settings = settings
        self._examples = examples
        self._team = team
        self._retriever: ApartRetriever | None = None
        own = settings.finetune
        self._wanted = len(with_passages(examples, own.passages, seed=own.seed))
        self.fingerprint = team.first(self._open) if self._wanted else None

    def __enter__(self) -> Search:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the collection and the embedder; once is enough."""
        if self._retriever is not None:
            self._retriever.close()

    def chats(self) -> list[list[Message]]:
        """The messages that each example is trained on, in order; the search ends with them."""
        found = self._team.first(self._chats)
        self.close()
        return found

    def _open(self) -> str:
        self._retriever = ApartRetriever(self._settings)
        return self._retriever.fingerprint

    def _chats(self) -> list[list[Message]]:
        own, ask = self._settings.finetune, self._settings.ask
        if not self._wanted:
            return chats(self._examples, ask, seed=own.seed)
        with bar("retrieving passages", self._wanted) as advance:
            return chats(self._examples, ask, seed=own.seed, share=own.passages,
                         retriever=self._retriever, advance=advance)
