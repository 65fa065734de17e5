"""Chat templates: messages to the text that the model was trained on, and where turns end.

What stands in a message is data. A document that contains "<|end|>" must not end the turn
that quotes it, so control tokens inside contents are broken up before the template is
applied. Only the template itself writes control tokens. What the assistant says may hold tokens
that were added without being special, such as <think> or <tool_call>: they open no turn and end
none, and are a part of the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from phi3kit.errors import ModelError
from phi3kit.records import Message

# Readers do not see it, tokenizers do not skip it.
_BREAK = "\u200b"

# How Phi, Llama 3, Qwen, Zephyr and most others write who speaks and where a turn ends.
MARK = re.compile(r"<\|[^|<>\s]+\|>")

ROLES = ("system", "user", "assistant")

_PROBE = "phi3kit-probe"


def render(tokenizer: Any, messages: Sequence[Message], *, generation: bool,
           thinking: bool = False) -> str:
    """The prompt of `messages`, in the model's own chat template.

    Control tokens inside contents are neutralised. A template that refuses or drops system
    messages gets their text at the start of the first user turn. Tokenise the result with
    `add_special_tokens=False`: where the model expects a BOS token, it is in the text, once.

    Args:
        tokenizer: the model's tokenizer.
        messages: system (at most one, first), then user and assistant in turn.
        generation: end with the opening of the assistant's turn.
        thinking: let a template that can leave the answer's thoughts to the model do so, as
            Qwen3's does unless told otherwise. Else it writes that there are none.

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
    clean = [{"role": m["role"], "content": neutralise(tokenizer, m["content"],
                                                       answer=m["role"] == "assistant")}
             for m in messages]
    if any(m["role"] == "system" for m in clean) and not takes_system(tokenizer):
        clean = _merge_system(clean)
    text = _apply(tokenizer, clean, generation, thinking=thinking)
    bos = tokenizer.bos_token
    if bos and adds_bos(tokenizer) and not text.startswith(bos):
        return f"{bos}{text}"
    return text


def neutralise(tokenizer: Any, text: str, *, answer: bool = False) -> str:
    """`text` with the tokenizer's control tokens broken by a zero-width space.

    It reads as before and tokenises to ordinary text: "<|end|>" becomes "<", zero-width
    space, "|end|>". The template's own marks are broken too where the tokenizer takes them for
    text, as Zephyr's does. Idempotent; texts without any of them come back unchanged.

    Args:
        answer: the assistant says it: only special tokens and the template's marks are broken.
    """
    # Breaking one token can uncover none: a break only ever adds a character inside it.
    for token in _broken(tokenizer, answer=answer):
        if token in text:
            text = text.replace(token, token[0] + _BREAK + token[1:])
    return text


def _broken(tokenizer: Any, *, answer: bool) -> list[str]:
    """What `neutralise` breaks, the longest first."""
    key = (len(tokenizer), str(tokenizer.chat_template))
    cached = tokenizer.__dict__.get("_phi3kit_broken")
    if cached is None or cached[0] != key:
        tokens = control_tokens(tokenizer)
        marks = template_marks(tokenizer)
        special = {str(token) for token in tokenizer.added_tokens_decoder.values()
                   if token.special} | set(tokenizer.all_special_tokens)
        cached = (key, {False: _longest_first({*tokens, *marks}),
                        True: _longest_first({*(special & set(tokens)), *marks})})
        tokenizer.__dict__["_phi3kit_broken"] = cached
    return list(cached[1][answer])


def _longest_first(tokens: set[str]) -> list[str]:
    return sorted(tokens, key=lambda t: (-len(t), t))


def template_marks(tokenizer: Any) -> list[str]:
    """The marks that the template puts around what is said, whole tokens or not, in its order.

    Those of the form <|…|>, and added tokens before a question and behind an answer. Not what
    opens an answer's thoughts: a template may write <think> in front of it, and the answer too.
    """
    if not tokenizer.chat_template:
        return []
    asked = [{"role": "user", "content": _PROBE}]
    try:
        if takes_system(tokenizer):
            asked.insert(0, {"role": "system", "content": "."})
        before, _, opening = _apply(tokenizer, asked, True).rpartition(_PROBE)
        after = _answered(tokenizer)
    except ModelError:  # told where a chat is to be put
        return []
    tokens = [token for token in control_tokens(tokenizer) if token in before or token in after]
    return list(dict.fromkeys([*MARK.findall(before + opening + after), *tokens]))


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
        cached = (len(tokenizer), _longest_first(found))
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
    after = _answered(tokenizer).lstrip()
    for token in control_tokens(tokenizer):
        if after.startswith(token):
            return int(tokenizer.convert_tokens_to_ids(token))
    return None


def answer_end(tokenizer: Any) -> str:
    """The mark of the form <|…|> that the template writes right after an answer; "" if none."""
    found = MARK.match(_answered(tokenizer).lstrip())
    return found[0] if found else ""


def _answered(tokenizer: Any) -> str:
    """What the template writes behind an assistant's text, the last of the chat."""
    return _apply(tokenizer, [{"role": "user", "content": "?"},
                              {"role": "assistant", "content": _PROBE}], False
                  ).rpartition(_PROBE)[2]


def _apply(tokenizer: Any, messages: list[dict[str, str]], generation: bool, *,
           thinking: bool = False) -> str:
    from jinja2 import TemplateError, TemplateSyntaxError

    # Templates that do not know the variable do not read it.
    told: dict[str, Any] = {} if thinking else {"enable_thinking": False}
    try:
        return str(tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=generation, **told))
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
