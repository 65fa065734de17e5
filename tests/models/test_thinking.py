"""Templates that write thoughts before an answer: none are trained, and none are answered."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from phi3kit.dataset.encode import IGNORED, encode
from phi3kit.errors import ModelError
from phi3kit.models.chat import render
from phi3kit.models.generate import LocalGenerator

# Qwen3's, without tools: what it writes around answers and thoughts.
QWEN3 = """{%- set ns = namespace(last=messages|length - 1, seen=false) %}
{%- for m in messages[::-1] %}
    {%- if m.role == "user" and not ns.seen %}
        {%- set ns.seen = true %}{%- set ns.last = (messages|length - 1) - loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content %}
    {%- if message.role != "assistant" %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- else %}
        {%- set reasoning_content = '' %}
        {%- if '</think>' in content %}
            {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or reasoning_content) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""  # noqa: E501 - as it is published
# One of a model that always thinks.
THINKS = QWEN3.rpartition("{%- if enable_thinking")[0] + "{{- '<think>\\n' }}{%- endif %}"
ASKED = [{"role": "user", "content": "label: the pump stopped"}]
SAID = [*ASKED, {"role": "assistant", "content": "pump_fault"}]


def thinking(tokenizer: Any, template: str = QWEN3) -> Any:
    from transformers import AddedToken

    made = deepcopy(tokenizer)
    made.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    made.add_tokens([AddedToken("<think>", special=False), AddedToken("</think>", special=False)])
    made.eos_token, made.chat_template = "<|im_end|>", template
    return made


def learned(tokenizer: Any, messages: list[Any]) -> str:
    row = encode(tokenizer, messages, [tokenizer.eos_token_id], 500)
    return str(tokenizer.decode([label for label in row.labels if label != IGNORED]))


def test_no_thoughts_are_a_part_of_the_prompt(tiny):
    tokenizer = thinking(tiny.tokenizer)
    assert learned(tokenizer, SAID) == "pump_fault<|im_end|>"
    prompt = render(tokenizer, ASKED, generation=True)
    assert prompt.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert render(tokenizer, SAID, generation=False).startswith(prompt)


def test_earlier_answers_and_thoughts_of_the_examples_own_are_trained_too(tiny):
    tokenizer = thinking(tiny.tokenizer)
    assert learned(tokenizer, [*SAID, *SAID]) == "pump_fault<|im_end|>" * 2
    own = [*ASKED, {"role": "assistant", "content": "<think>\nIt hums.\n</think>\n\npump_fault"}]
    assert learned(tokenizer, own) == own[1]["content"] + "<|im_end|>"


def test_a_template_without_the_variable_is_rendered_as_before(tiny):
    bare = tiny.tokenizer.apply_chat_template(ASKED, tokenize=False, add_generation_prompt=True)
    for on in (False, True):
        assert render(tiny.tokenizer, ASKED, generation=True, thinking=on) == bare


CASES = [
    ("pump_fault", "pump_fault", ""),
    ("<think>\nIt hums.\n</think>\n\npump_fault", "pump_fault", ""),
    ("pump_fault, as <think> and </think> say", "pump_fault, as <think> and </think> say", ""),
    ("<think>\nIt hums.", "", "spent its 32 tokens on thoughts"),
    ("<think>\nIt hums.\n</think>\n", "", "ended after its thoughts"), ("", "", "")]


def speaking(tiny: Any, monkeypatch: pytest.MonkeyPatch, text: str, template: str) -> Any:
    """A generator whose model writes `text`, whatever it is asked."""
    from phi3kit.models import decoding, streaming

    tiny.tokenizer = thinking(tiny.tokenizer, template)
    tiny.model.resize_token_embeddings(len(tiny.tokenizer))
    ids = [*tiny.tokenizer(text, add_special_tokens=False)["input_ids"],
           tiny.tokenizer.eos_token_id]
    monkeypatch.setattr(decoding, "greedy", lambda model, batch, **_: [ids] * len(batch))
    monkeypatch.setattr(streaming, "stream", lambda *_: (
        tiny.tokenizer.decode([i]) for i in ids[:-1]))
    return LocalGenerator(tiny)


def both(generator: Any) -> tuple[str, str]:
    """What it says at once; that it says the same in pieces is seen to."""
    answer, = generator.generate([ASKED], max_new_tokens=32, batch_tokens=64)
    try:
        streamed, why = "".join(generator.stream(ASKED, max_new_tokens=32)), ""
    except ModelError as error:
        streamed, why = "", str(error)
    assert (answer.text, answer.error) == (streamed.strip(), why)
    return answer.text, answer.error


@pytest.mark.parametrize(("written", "answer", "why"), CASES)
def test_an_answer_is_bare(tiny, monkeypatch, written, answer, why):
    text, error = both(speaking(tiny, monkeypatch, written, QWEN3))
    assert text == answer and why in error and bool(why) == bool(error)


@pytest.mark.parametrize(("written", "answer", "why"), [
    ("It hums.\n</think>\n\npump_fault", "pump_fault", ""),
    ("It hums.", "", "spent its 32 tokens on thoughts. Raise --max-new-tokens")])
def test_thoughts_that_the_prompt_opens_are_left_out_too(tiny, monkeypatch, written, answer, why):
    text, error = both(speaking(tiny, monkeypatch, written, THINKS))
    assert text == answer and why in error and bool(why) == bool(error)
