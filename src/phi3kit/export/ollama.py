"""The file that `ollama create` reads: weights, template, stop tokens, the system message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

from phi3kit.errors import ModelError
from phi3kit.models.chat import adds_bos, render
from phi3kit.records import Message

_SYSTEM, _USER, _ANSWER, _NEXT = (
    f"phi3kit-{what}" for what in ("system", "user", "answer", "next"))


@dataclass(frozen=True, slots=True)
class Pieces:
    """What a chat template writes before, between and after what is said.

    Attributes:
        before_system: at the start of a chat with a system message.
        before_user: between that message and the first question.
        before_alone: before a question without a system message: every one but the first.
        before_answer, after_answer: around an answer that another question follows.
    """

    before_system: str
    before_user: str
    before_alone: str
    before_answer: str
    after_answer: str

    def template(self) -> str:
        """The same in the template language of Go that Ollama reads.

        Ollama fills it in once for each question with its answer, and `.System` is empty from the
        second on; where it asks for an answer, it stops at `.Response`.
        """
        system = f"{{{{ if .System }}}}{self.before_system}{{{{ .System }}}}"
        if self.before_user.endswith(self.before_alone):
            closing = self.before_user.removesuffix(self.before_alone)
            opening = f"{system}{closing}{{{{ end }}}}{self.before_alone}"
        else:
            opening = f"{system}{self.before_user}{{{{ else }}}}{self.before_alone}{{{{ end }}}}"
        return (f"{opening}{{{{ .Prompt }}}}{self.before_answer}{{{{ .Response }}}}"
                f"{self.after_answer}")

    def filled(self, system: str, user: str) -> str:
        """What Ollama makes of the template when it asks for an answer."""
        opening = f"{self.before_system}{system}{self.before_user}" if system else self.before_alone
        return f"{opening}{user}{self.before_answer}"


def pieces(tokenizer: Any) -> Pieces:
    """The pieces of the tokenizer's own template, found by filling it in and cutting it apart.

    Raises:
        ModelError: the template changes or moves what is said, so that these pieces do not tell
            what it does.
    """
    chat: list[Message] = [{"role": "system", "content": _SYSTEM},
                           {"role": "user", "content": _USER},
                           {"role": "assistant", "content": _ANSWER},
                           {"role": "user", "content": _NEXT}]
    asked = render(tokenizer, chat[:2], generation=True)
    whole = render(tokenizer, chat[:3], generation=False)
    again = render(tokenizer, chat, generation=True)
    alone = render(tokenizer, chat[1:2], generation=True)
    try:
        before_system, rest = asked.split(_SYSTEM)
        before_user, before_answer = rest.split(_USER)
        beginning, last = whole.split(_ANSWER)
        first, rest = again.split(_ANSWER)
        between, second = rest.split(_NEXT)
        before_alone, _ = alone.split(_USER)
    except ValueError as error:
        raise _not_expressible(tokenizer, "it does not write each message once") from error
    if not beginning == first == asked or second != before_answer:
        raise _not_expressible(tokenizer, "it opens an answer otherwise when it asks for one, or "
                                          "when another question follows")
    if tokenizer.bos_token and adds_bos(tokenizer):
        # The GGUF file says that it is put in front, and twice would be once too often.
        before_system = before_system.removeprefix(tokenizer.bos_token)
        before_alone = before_alone.removeprefix(tokenizer.bos_token)
    if between.endswith(before_alone):
        after = between.removesuffix(before_alone)
    else:  # a chat without a system message begins with one that the template brings
        after = _of_each_turn(tokenizer, last)
        if not between.startswith(after):
            raise _not_expressible(tokenizer, "it ends the last answer otherwise than the others")
        before_alone = between.removeprefix(after)
    found = Pieces(before_system, before_user, before_alone, before_answer, after)
    if any(mark in piece for piece in astuple(found) for mark in ("{{", '"""')):
        raise _not_expressible(tokenizer, 'it writes "{{" or three quotation marks')
    return found


def _of_each_turn(tokenizer: Any, last: str) -> str:
    """What follows the last answer, but for an end of the whole chat."""
    eos = tokenizer.eos_token
    return last.removesuffix(eos) if eos and last != eos else last


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
