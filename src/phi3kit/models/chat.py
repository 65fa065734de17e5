"""Chat templates: messages to the text that the model was trained on, and where turns end.

What stands in a message is data. A document that contains "<|end|>" must not end the turn
that quotes it, so control tokens inside contents are broken up before the template is
applied. Only the template itself writes control tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phi3kit.errors import ModelError
from phi3kit.records import Message

# Readers do not see it, tokenizers do not skip it.
_BREAK = "\u200b"

ROLES = ("system", "user", "assistant")

_PROBE = "phi3kit-probe"


def render(tokenizer: Any, messages: Sequence[Message], *, generation: bool) -> str:
    """The prompt of `messages`, in the model's own chat template.

    Control tokens inside contents are neutralised. A template that refuses or drops system
    messages gets their text at the start of the first user turn. Tokenise the result with
    `add_special_tokens=False`: where the model expects a BOS token, it is in the text, once.

    Args:
        tokenizer: the model's tokenizer.
        messages: system (at most one, first), then user and assistant in turn.
        generation: end with the opening of the assistant's turn.

    Raises:
        ModelError: the tokenizer has no chat template, or it refuses these messages; an
            unknown role.
    """
    for message in messages:
        # A role is written between control tokens as it stands.
        if message["role"] not in ROLES:
            raise ModelError(f"unknown role '{message['role']}'",
                             mend=f"Use {', '.join(ROLES)}")
    if not tokenizer.chat_template:
        raise ModelError("the model has no chat template", where=str(tokenizer.name_or_path),
                         mend="Use an instruct or chat version of it")
    clean = [{"role": m["role"], "content": neutralise(tokenizer, m["content"])}
             for m in messages]
    if any(m["role"] == "system" for m in clean) and not takes_system(tokenizer):
        clean = _merge_system(clean)
    text = _apply(tokenizer, clean, generation)
    bos = tokenizer.bos_token
    if bos and adds_bos(tokenizer) and not text.startswith(bos):
        return f"{bos}{text}"
    return text


def neutralise(tokenizer: Any, text: str) -> str:
    """`text` with the tokenizer's control tokens broken by a zero-width space.

    It reads as before and tokenises to ordinary text: "<|end|>" becomes "<", zero-width
    space, "|end|>". Idempotent; texts without control tokens come back unchanged.
    """
    # Breaking one token can uncover none: a break only ever adds a character inside it.
    for token in control_tokens(tokenizer):
        if token in text:
            text = text.replace(token, token[0] + _BREAK + token[1:])
    return text


def control_tokens(tokenizer: Any) -> list[str]:
    """Every string that tokenises to a control token, the longest first.

    That is all added tokens, special or not (Phi-4-mini's tool markers are added without
    being special), but for white space and single characters, which cannot open a turn.
    """
    cached = tokenizer.__dict__.get("_phi3kit_control_tokens")
    if cached is None or cached[0] != len(tokenizer):
        added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
        found = {t for t in added | set(tokenizer.all_special_tokens)
                 if len(t.strip()) > 1}
        cached = (len(tokenizer), sorted(found, key=lambda t: (-len(t), t)))
        tokenizer.__dict__["_phi3kit_control_tokens"] = cached
    return list(cached[1])


def takes_system(tokenizer: Any) -> bool:
    """Whether the chat template renders a system message, tried out on one."""
    try:
        text = _apply(tokenizer, [{"role": "system", "content": _PROBE},
                                  {"role": "user", "content": "?"}], True)
    except ModelError:
        return False
    return _PROBE in text


def stop_token_ids(tokenizer: Any, model: Any) -> list[int]:
    """Every id that ends an answer, ascending.

    The EOS ids of the tokenizer, of the model's configuration and of its generation
    configuration, and the token that the template writes after an assistant's message:
    Phi-3's configuration, for one, does not name its <|end|> everywhere.
    """
    ids: set[int] = set()
    for source in (tokenizer, model.config, getattr(model, "generation_config", None)):
        eos = getattr(source, "eos_token_id", None)
        ids.update(eos if isinstance(eos, (list, tuple)) else [] if eos is None else [eos])
    end = turn_end(tokenizer)
    if end is not None:
        ids.add(end)
    return sorted(ids)


def turn_end(tokenizer: Any) -> int | None:
    """The control token that the template writes right after an assistant's text, if any."""
    if not tokenizer.chat_template:
        return None
    text = _apply(tokenizer, [{"role": "user", "content": "?"},
                              {"role": "assistant", "content": _PROBE}], False)
    after = text.rpartition(_PROBE)[2].lstrip()
    for token in control_tokens(tokenizer):
        if after.startswith(token):
            return int(tokenizer.convert_tokens_to_ids(token))
    return None


def _apply(tokenizer: Any, messages: list[dict[str, str]], generation: bool) -> str:
    from jinja2 import TemplateError, TemplateSyntaxError

    try:
        return str(tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=generation))
    except TemplateSyntaxError as error:
        raise ModelError(f"line {error.lineno} of the chat template is no Jinja ({error.message})",
                         where=str(tokenizer.name_or_path),
                         mend="Mend chat_template.jinja, or chat_template in "
                              "tokenizer_config.json") from error
    except (TemplateError, TypeError, ValueError) as error:
        raise ModelError(f"the chat template refuses these messages ({error})",
                         where=str(tokenizer.name_or_path),
                         mend="Let user and assistant alternate, the user first") from error


def _merge_system(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    rest = [m for m in messages if m["role"] != "system"]
    if not rest or rest[0]["role"] != "user":
        return [{"role": "user", "content": system}, *rest]
    first = {"role": "user", "content": f"{system}\n\n{rest[0]['content']}".strip()}
    return [first, *rest[1:]]


def adds_bos(tokenizer: Any) -> bool:
    """Whether the tokenizer itself puts BOS in front of a text."""
    ids = tokenizer("a", add_special_tokens=True)["input_ids"]
    return bool(ids) and ids[0] == tokenizer.bos_token_id
