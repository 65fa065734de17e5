"""Chats to tokens and the mask: the model's own template, loss on the answers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from phi3kit.dataset.examples import is_trained
from phi3kit.errors import DataError, ModelError
from phi3kit.models.chat import render
from phi3kit.records import Message

IGNORED = -100  # the label that cross entropy leaves out
_SHORTEST = 2  # tokens of an answer: something said, and the end of it


@dataclass(frozen=True)
class Encoded:
    """A chat as tokens.

    Attributes:
        input_ids: token ids of the whole chat.
        labels: the same ids where the token is trained (each answer and the token that ends
            its turn, but for answers of weight 0), `IGNORED` elsewhere.
        cut: whether the start of the prompt had to go.
        lost_answers: answers to train on that went with it, in the oldest exchanges.
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    cut: bool = False
    lost_answers: int = 0

    @property
    def trained(self) -> int:
        """Tokens that carry loss."""
        return sum(label != IGNORED for label in self.labels)


def encode(tokenizer: Any, messages: Sequence[Message], stop_ids: Sequence[int],
           max_tokens: int) -> Encoded:
    """Tokens and labels of a chat, at most `max_tokens` long.

    What is too long loses the start of its prompt: the oldest exchanges first, then the start
    of the question. The last answer is never cut.

    Args:
        stop_ids: the ids that end an answer, as `models.chat.stop_token_ids` gives them.

    Raises:
        DataError: the answer alone does not fit, or its characters are none of the tokenizer's.
        ModelError: the template writes an assistant's turn otherwise than it announces it,
            so that there is no telling which tokens are the answer.
    """
    encoded = _encode(tokenizer, messages, stop_ids)
    if len(encoded.input_ids) <= max_tokens:
        return encoded
    shorter = list(messages)
    while True:
        cut = _shorten(tokenizer, shorter, len(encoded.input_ids) - max_tokens)
        if cut is None:
            raise _no_room(tokenizer, shorter, max_tokens)
        shorter = cut
        encoded = _encode(tokenizer, shorter, stop_ids)
        if not encoded.trained:
            raise DataError(f"the answers of weight 1 do not fit into {max_tokens} tokens with "
                            "what follows them", mend="Raise finetune.max_tokens")
        if len(encoded.input_ids) <= max_tokens:
            return replace(encoded, cut=True,
                           lost_answers=_taught(messages) - _taught(shorter))


def _no_room(tokenizer: Any, messages: Sequence[Message], max_tokens: int) -> DataError:
    """Where nothing of the question is left to cut: what takes most of the tokens."""
    sizes = {m["role"]: len(tokenizer(m["content"], add_special_tokens=False)["input_ids"])
             for m in messages if m["role"] != "user"}
    said = f"the answer does not fit into {max_tokens} tokens with any of its question"
    system = sizes.get("system", 0)
    if system <= sizes["assistant"]:
        return DataError(said, mend="Raise finetune.max_tokens or shorten the answer")
    return DataError(f"{said}: the system message takes {system} of them, the answer "
                     f"{sizes['assistant']}", mend="Raise finetune.max_tokens or shorten the "
                     "system message, its own or ask.instruction")


def _taught(messages: Sequence[Message]) -> int:
    return sum(m["role"] == "assistant" and is_trained(m) for m in messages)


def _encode(tokenizer: Any, messages: Sequence[Message], stop_ids: Sequence[int]) -> Encoded:
    full = render(tokenizer, messages, generation=False)
    starts: list[int] = []
    taught: list[bool] = []
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            prefix = render(tokenizer, messages[:index], generation=True)
            if not full.startswith(prefix):
                # Qwen3's writes that there are no thoughts before the last answer alone, and
                # not where it has some.
                prefix = render(tokenizer, messages[:index], generation=True, thinking=True)
            if not full.startswith(prefix):
                raise ModelError("the chat template writes an answer's opening otherwise in "
                                 "training than in serving", where=str(tokenizer.name_or_path),
                                 mend="Use a model whose template only adds to the chat")
            starts.append(len(prefix))
            taught.append(is_trained(message))
    pieces = _pieces(tokenizer, full, starts)
    ids, labels = list(pieces[0]), [IGNORED] * len(pieces[0])
    for number, piece in enumerate(pieces[1:], start=1):
        answer = _through_stop(piece, stop_ids)
        if answer is None:
            if number < len(starts) or tokenizer.eos_token_id is None:
                raise ModelError("the chat template does not end an answer with a stop token",
                                 where=str(tokenizer.name_or_path),
                                 mend="Use single questions or another model")
            # Without a token to stop at, the model would never learn to stop.
            piece = [*piece, tokenizer.eos_token_id]
            answer = len(piece)
        if answer < _SHORTEST:
            raise DataError("its tokenizer has no token for any character of the answer",
                            mend="Write the answer in characters that the model knows")
        ids += piece
        trained = answer if taught[number - 1] else 0
        labels += [*piece[:trained], *[IGNORED] * (len(piece) - trained)]
    return Encoded(tuple(ids), tuple(labels))


def _pieces(tokenizer: Any, full: str, starts: Sequence[int]) -> list[list[int]]:
    """`full` as tokens, cut where each answer begins: len(starts) + 1 lists of ids.

    In front of each answer stand exactly the tokens that serving would feed the model. Where
    the tokenizer would merge the last character of the prompt with the first of the answer,
    the pieces are tokenised apart, for the model never sees that merge when it answers.
    """
    def tokens(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    whole = tokens(full)
    prefixes = [tokens(full[:start]) for start in starts]
    if all(whole[:len(prefix)] == prefix for prefix in prefixes):
        cuts = [0, *(len(prefix) for prefix in prefixes), len(whole)]
        return [whole[a:b] for a, b in pairwise(cuts)]
    places = [0, *starts, len(full)]
    return [tokens(full[a:b]) for a, b in pairwise(places)]


def _through_stop(piece: Sequence[int], stop_ids: Sequence[int]) -> int | None:
    """Length of the answer with its stop token. Contents hold none: they are neutralised."""
    return next((at + 1 for at, token in enumerate(piece) if token in stop_ids), None)


def _shorten(tokenizer: Any, messages: list[Message], excess: int) -> list[Message] | None:
    """`messages` with less at the start of the prompt; None when nothing is left to cut."""
    first = 1 if messages[0]["role"] == "system" else 0
    chat = messages[first:]
    if len(chat) > 2:
        return [*messages[:first], *chat[2:]]
    content = chat[0]["content"]
    ids = tokenizer(content, add_special_tokens=False)["input_ids"]
    kept = tokenizer.decode(ids[excess:], skip_special_tokens=False) if excess < len(ids) else ""
    # Half a character decodes to U+FFFD; and a cut has to make it shorter to come to an end.
    kept = kept.lstrip("\ufffd")[-(len(content) - 1):] if len(content) > 1 else ""
    if not kept.strip():  # an answer to nothing would be learned
        return None
    return [*messages[:first], {"role": "user", "content": kept}, *chat[1:]]
