"""What a server sends for one prompt, and what it means when that holds no answer."""

from __future__ import annotations

from typing import Any

from phi3kit.errors import ModelError
from phi3kit.models.thoughts import nothing_else

# Where servers that part thoughts from the answer put them: vLLM and DeepSeek; Ollama and newer
# vLLM.
_THOUGHTS = ("reasoning_content", "reasoning")


class ServerAnswer:
    """One answer as it comes, whole or in pieces.

    Attributes:
        begun: whether anything of the form of an answer came.
    """

    def __init__(self) -> None:
        self.begun = False
        self._thought = False
        self._end = ""

    def take(self, choice: Any, message: Any) -> str:
        """The text of a choice's message, or of its delta in a stream; "" if it has none."""
        text = message.content or ""
        self.begun = True
        # Of a text that is no answer nothing but thoughts can be left: see `without_thoughts`.
        self._thought = self._thought or bool(text.strip()) or any(
            getattr(message, name, None) for name in _THOUGHTS)
        self._end = getattr(choice, "finish_reason", None) or self._end
        return text

    def silence(self, max_new_tokens: int) -> ModelError | None:
        """Why no answer came; None where the model had nothing to say and ended by itself."""
        if self._thought or self._end == "length":
            return nothing_else(max_new_tokens, ended=self._end != "length",
                                mend="turn its thinking off")
        if self._end not in ("", "stop"):
            return ModelError(f"the server ended the answer before it began ({self._end})")
        return None
