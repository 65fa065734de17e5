"""Thoughts that a model writes out before its answer, between `<think>` and `</think>`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from phi3kit.errors import ModelError

_OPEN, _CLOSE = "<think>", "</think>"


def without_thoughts(pieces: Iterable[str]) -> Iterator[str]:
    """The answer alone of a text that comes in pieces; its thoughts are no part of it.

    Nothing comes of thoughts that do not end. What stands between the two marks anywhere but
    in front of the answer is a part of it.
    """
    pieces, held = iter(pieces), ""
    for piece in pieces:
        held += piece
        begun = held.lstrip()
        if begun.startswith(_OPEN):
            _, end, answer = begun.partition(_CLOSE)
            if not end:
                continue
            held = answer
        elif _OPEN.startswith(begun):
            continue
        if held:
            yield held
        yield from filter(None, pieces)
        return
    if held and not held.lstrip().startswith(_OPEN):
        yield held


def nothing_else(max_new_tokens: int, *, ended: bool, mend: str) -> ModelError:
    """What to tell of a model that wrote thoughts and no answer.

    Args:
        max_new_tokens: that the answer could have had, thoughts included.
        ended: whether the thoughts came to an end.
        mend: what else helps than more tokens, as the end of a sentence.
    """
    if ended:
        return ModelError("the model ended after its thoughts, without an answer",
                          mend=f"{mend[0].upper()}{mend[1:]}")
    return ModelError(f"the model spent its {max_new_tokens} tokens on thoughts",
                      mend=f"Raise --max-new-tokens or {mend}")
