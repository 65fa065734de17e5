"""The file that `ollama create` reads: weights, template, stop tokens, the system message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from phi3kit.errors import ModelError
from phi3kit.models.chat import adds_bos, render
from phi3kit.records import Message

_SYSTEM, _USER, _ANSWER = "phi3kit-system", "phi3kit-user", "phi3kit-answer"


@dataclass(frozen=True, slots=True)
class Pieces:
    """What a chat template writes before, between and after what is said."""

    before_system: str
    before_user: str
    before_answer: str
    after_answer: str

    def template(self) -> str:
        """The same in the template language of Go that Ollama reads."""
        return (f"{self.before_system}{{{{ .System }}}}{self.before_user}{{{{ .Prompt }}}}"
                f"{self.before_answer}{{{{ .Response }}}}{self.after_answer}")

    def filled(self, system: str, user: str) -> str:
        """What Ollama makes of the template when it asks for an answer."""
        return f"{self.before_system}{system}{self.before_user}{user}{self.before_answer}"


def pieces(tokenizer: Any) -> Pieces:
    """The pieces of the tokenizer's own template, found by filling it in and cutting it apart.

    Raises:
        ModelError: the template changes or moves what is said, so that four pieces do not tell
            what it does.
    """
    chat: list[Message] = [{"role": "system", "content": _SYSTEM},
                           {"role": "user", "content": _USER},
                           {"role": "assistant", "content": _ANSWER}]
    asked = render(tokenizer, chat[:2], generation=True)
    whole = render(tokenizer, chat, generation=False)
    try:
        before_system, rest = asked.split(_SYSTEM)
        before_user, before_answer = rest.split(_USER)
        beginning, after = whole.split(_ANSWER)
    except ValueError as error:
        raise _not_expressible(tokenizer, "it does not write each message once") from error
    if beginning != asked:
        raise _not_expressible(tokenizer, "it opens an answer otherwise when it asks for one")
    if tokenizer.bos_token and adds_bos(tokenizer):
        # The GGUF file says that it is put in front, and twice would be once too often.
        before_system = before_system.removeprefix(tokenizer.bos_token)
    # What follows the last answer of a chat, not every answer, is no part of a turn.
    if tokenizer.eos_token and after.endswith(tokenizer.eos_token) \
            and after != tokenizer.eos_token:
        after = after.removesuffix(tokenizer.eos_token)
    found = Pieces(before_system, before_user, before_answer, after)
    if "{{" in found.template().replace("{{ .", "") or '"""' in found.template():
        raise _not_expressible(tokenizer, 'it writes "{{" or three quotation marks')
    return found


def _not_expressible(tokenizer: Any, why: str) -> ModelError:
    return ModelError(f"the chat template cannot be put into Ollama's language: {why}",
                      where=str(tokenizer.name_or_path),
                      mend="Export --to gguf, whose file carries the template as it is")


def modelfile(tokenizer: Any, *, gguf: str, instruction: str, stops: Sequence[int]) -> str:
    """The text of a Modelfile.

    Args:
        gguf: name of the weights' file beside it.
        instruction: the system message that the model was trained with.
        stops: ids that end an answer.

    Raises:
        ModelError: as `pieces`; an instruction that the file cannot hold.
    """
    import json

    if '"""' in instruction:
        raise ModelError("the instruction that the model was trained with has three quotation "
                         "marks in a row, which a Modelfile cannot hold",
                         mend="Export --to gguf and set the system message in the application")
    lines = [f"FROM ./{gguf}", f'TEMPLATE """{pieces(tokenizer).template()}"""',
             f'SYSTEM """{instruction}"""']
    lines += [f"PARAMETER stop {json.dumps(tokenizer.convert_ids_to_tokens(index))}"
              for index in stops]
    # Answers were measured greedy.
    lines.append("PARAMETER temperature 0")
    return "\n".join(lines) + "\n"
