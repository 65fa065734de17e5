"""What a model here says to a prompt: its answer, or why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from phi3kit.errors import ModelError
from phi3kit.models.thoughts import nothing_else, without_thoughts


def opened(prompt: str) -> str:
    """The mark with which a prompt ends when it opens the answer's thoughts, else ""."""
    return "<think>" if prompt.rstrip().endswith("<think>") else ""


class Said:
    """One answer, of which thoughts are no part.

    Args:
        max_new_tokens: that it may have, for the message.
        begun: see `opened`.
    """

    def __init__(self, max_new_tokens: int, *, begun: str = "") -> None:
        self._max_new_tokens = max_new_tokens
        self._written = begun

    def whole(self, text: str) -> tuple[str, str]:
        """The answer, stripped, and why there is none; "" where nothing was thought either."""
        try:
            return "".join(self.stream([text])).strip(), ""
        except ModelError as error:
            return "", str(error)

    def stream(self, pieces: Iterable[str]) -> Iterator[str]:
        """The answer in pieces.

        Raises:
            ModelError: nothing but thoughts came.
        """
        silent = True
        for piece in without_thoughts(self._heard(pieces)):
            silent = silent and not piece.strip()
            yield piece
        if silent and self._written.strip():
            raise nothing_else(self._max_new_tokens, ended="</think>" in self._written,
                               mend="use a model that answers without thoughts")

    def _heard(self, pieces: Iterable[str]) -> Iterator[str]:
        if self._written:
            yield self._written
        for piece in pieces:
            self._written += piece
            yield piece
