"""A tokenizer as GGUF describes it: tokens, types, merges or scores, and how text is cut first.

Two families: byte-level BPE ("gpt2" in GGUF), which needs its merges and the name of the rule
that cuts text before merging, and SentencePiece's BPE with byte fallback ("llama"), which needs
a score for each token.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from phi3kit.errors import ModelError
from phi3kit.models.chat import control_tokens, render

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6

_GPT2 = (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
_LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
           r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
_GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
          r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
          r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
          r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
          r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
# llama.cpp's names for the rules; "dbrx" cuts as "llama-bpe" does and merges within words too.
_RULES = {_GPT2: "gpt-2", _LLAMA3: "dbrx", _GPT4O: "gpt-4o"}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer's data under GGUF's names.

    Attributes:
        model: "gpt2" or "llama".
        pre: the rule that cuts text before merging.
        tokens: by id, as many as the embedding has rows.
        types: of each token.
        scores: of each token, for "llama"; empty otherwise.
        merges: pairs with a space between, best first, for "gpt2"; empty otherwise.
        strips: whether some control tokens swallow the white space after them.
    """

    model: str
    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    scores: tuple[float, ...]
    merges: tuple[str, ...]
    strips: bool


def vocabulary(tokenizer: Any, rows: int, *, where: str) -> Vocabulary:
    """The data of a fast tokenizer.

    Args:
        rows: of the embedding matrix; ids that the tokenizer does not use become unused tokens.
        where: the model's name, for messages.

    Raises:
        ModelError: a tokenizer of another family, or a rule of cutting that has no name here.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError("GGUF export reads fast tokenizers only", where=where)
    data = json.loads(backend.to_str())
    model = data["model"]
    if model["type"] != "BPE":
        raise ModelError(f"GGUF export knows BPE tokenizers, and this one is {model['type']}",
                         where=where, mend="Export --to merged or --to vllm")
    vocab = dict(model["vocab"]) | {t["content"]: t["id"] for t in data["added_tokens"]}
    if max(vocab.values()) >= rows:
        raise ModelError(f"the tokenizer has ids up to {max(vocab.values())} and the embedding "
                         f"{rows} rows", where=where)
    named = {index: token for token, index in vocab.items()}
    tokens = tuple(named.get(i, f"[PAD{i}]") for i in range(rows))
    pairs = [m if isinstance(m, list) else m.split(" ") for m in model["merges"]]
    sentencepiece = bool(model.get("byte_fallback"))
    added = {t["id"]: bool(t["special"]) for t in data["added_tokens"]}
    unknown = tokenizer.unk_token_id if sentencepiece else None
    return Vocabulary(
        model="llama" if sentencepiece else "gpt2",
        pre="default" if sentencepiece else _rule(data["pre_tokenizer"], where),
        tokens=tokens,
        types=tuple(_type(i, token, i in named, added, unknown, sentencepiece)
                    for i, token in enumerate(tokens)),
        scores=_scores(tokens, pairs) if sentencepiece else (),
        merges=() if sentencepiece else tuple(" ".join(pair) for pair in pairs),
        strips=any(t["rstrip"] or t["lstrip"] for t in data["added_tokens"]))


def swallows_like_phi3(words: Vocabulary) -> bool:
    """Whether white space goes with control tokens, in a vocabulary that llama.cpp knows so."""
    return words.strips and {"</s>", "<unk>", "<s>", "<|endoftext|>"} <= set(words.tokens)


def refuse_lost_stripping(words: Vocabulary, tokenizer: Any, *, where: str) -> None:
    """Stop where control tokens swallow white space that the template writes after them.

    Only for Phi-3's own vocabulary does llama.cpp do so; a prompt would have tokens there that
    training never showed.

    Raises:
        ModelError: names the vocabulary.
    """
    if not words.strips or swallows_like_phi3(words):
        return
    text = render(tokenizer, [{"role": "system", "content": "."}, {"role": "user", "content": "?"},
                              {"role": "assistant", "content": "!"}], generation=False)
    if any(f"{token}{space}" in text for token in control_tokens(tokenizer) for space in "\n "):
        raise ModelError("control tokens of this tokenizer swallow the white space after them, "
                         "and GGUF cannot tell that of this vocabulary", where=where,
                         mend="Export --to merged or --to vllm")


def _type(index: int, token: str, used: bool, added: dict[int, bool], unknown: int | None,
          sentencepiece: bool) -> int:
    if not used:
        return _UNUSED
    if index == unknown:
        return _UNKNOWN
    if index in added:
        return _CONTROL if added[index] else _USER_DEFINED
    if sentencepiece and len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return _BYTE
    return _NORMAL


def _scores(tokens: tuple[str, ...], pairs: list[list[str]]) -> tuple[float, ...]:
    """A score for each token, so that SentencePiece's order of merging is that of `pairs`.

    SentencePiece merges the neighbours whose union scores best; a list of merges, the pair
    that stands first. Minus the place of a token's first merge gives the same order.
    """
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(pairs):
        ranks.setdefault(left + right, rank)
    last = float(-len(pairs) - 1)
    return tuple(float(-ranks[token]) if token in ranks else last for token in tokens)


def _rule(pre: Any, where: str) -> str:
    """llama.cpp's name for the way a byte-level tokenizer cuts text before merging."""
    steps = pre["pretokenizers"] if pre and pre["type"] == "Sequence" else [pre] if pre else []
    kinds = [step["type"] for step in steps]
    if steps and kinds[-1] == "ByteLevel" and not steps[-1]["add_prefix_space"]:
        if kinds == ["ByteLevel"] and steps[0]["use_regex"]:
            return "gpt-2"
        if kinds == ["Digits", "ByteLevel"] and steps[0]["individual_digits"] \
                and steps[1]["use_regex"]:
            return "smollm"
        if kinds == ["Split", "ByteLevel"] and not steps[1]["use_regex"] \
                and steps[0]["behavior"] == "Isolated" and not steps[0]["invert"]:
            name = _RULES.get(steps[0]["pattern"].get("Regex", ""))
            if name:
                return name
    raise ModelError("llama.cpp has no name known here for the way this tokenizer cuts text "
                     f"({', '.join(kinds) or 'none'})", where=where,
                     mend="Export --to merged or --to vllm")
