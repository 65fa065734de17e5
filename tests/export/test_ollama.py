from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from phi3kit.errors import ModelError
from phi3kit.export.ollama import modelfile, pieces
from phi3kit.export.run import export
from phi3kit.models.chat import render
from phi3kit.settings import load

CHATML = ("{% for m in messages %}<|system|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n"
          "{% endfor %}{% if add_generation_prompt %}<|system|>assistant\n{% endif %}")
NO_SYSTEM = ("{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no') }}"
             "{% endif %}{{ '<|' + m['role'] + '|>' + m['content'] }}<|end|>{% endfor %}"
             "{% if add_generation_prompt %}<|assistant|>{% endif %}")


@pytest.fixture
def tokenizer(tiny_phi3: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_phi3)


def asked(tokenizer: Any, system: str, user: str) -> str:
    return render(tokenizer, [{"role": "system", "content": system},
                              {"role": "user", "content": user}], generation=True)


@pytest.mark.parametrize("template", [None, CHATML, NO_SYSTEM], ids=["phi3", "chatml", "merged"])
def test_the_template_says_what_the_models_own_says(tokenizer: Any, template: str | None) -> None:
    if template:
        tokenizer.chat_template = template
    found = pieces(tokenizer)
    assert found.filled("Be brief.", "Which gate?") == asked(tokenizer, "Be brief.", "Which gate?")
    assert found.template().count("{{") == (6 if template == NO_SYSTEM else 5)
    assert found.after_answer.strip() == "<|end|>"


def test_the_token_of_beginning_stands_in_one_place(tokenizer: Any) -> None:
    """Put in front by the tokenizer, hence by the GGUF file's flag, it is not in the template."""
    from tokenizers import processors

    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)])
    assert asked(tokenizer, "a", "b").startswith("<s><|system|>")
    found = pieces(tokenizer)
    assert found.before_system.startswith("<|system|>") and "<s>" not in found.template()


def as_ollama(template: str, chat: list[dict[str, str]]) -> str:
    """A chat as Ollama fills it in: a turn at a time, the system message in the first alone."""
    text, system = "", ""
    turn = {"Prompt": "", "Response": ""}
    for message in chat:
        if message["role"] == "system":
            system = message["content"]
            continue
        turn["Prompt" if message["role"] == "user" else "Response"] = message["content"]
        if message["role"] == "assistant":
            text += filled_in(template, {**turn, "System": system})
            system, turn = "", {"Prompt": "", "Response": ""}
    return text + filled_in(template.partition("{{ .Response }}")[0], {**turn, "System": system})


def filled_in(template: str, values: dict[str, str]) -> str:
    chosen = re.sub(r"{{ if \.System }}(.*?)(?:{{ else }}(.*?))?{{ end }}", lambda found: (
        found[1] if values["System"] else found[2] or ""), template, flags=re.DOTALL)
    return re.sub(r"{{ \.(\w+) }}", lambda found: values[found[1]], chosen)


OWN_SYSTEM = ("{% if messages[0]['role'] != 'system' %}<|system|>You are kind.<|end|>\n{% endif %}"
              "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>\n{% endfor %}"
              "{% if add_generation_prompt %}<|assistant|>{% endif %}")
EOS_EACH = ("{% for m in messages %}{% if m['role'] == 'assistant' %}{{ m['content'] + eos_token }}"
            "{% else %}<|{{ m['role'] }}|>{{ m['content'] }}<|assistant|>{% endif %}{% endfor %}")


@pytest.mark.parametrize("template", [None, CHATML, NO_SYSTEM, OWN_SYSTEM, EOS_EACH], ids=[
    "phi3", "chatml", "merged", "brings its own", "eos"])
def test_two_turns_read_as_the_models_own_template_writes_them(tokenizer: Any,
                                                              template: str | None) -> None:
    if template:
        tokenizer.chat_template = template
    made = pieces(tokenizer).template()
    chat: list[Any] = [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which gate?"},
        {"role": "assistant", "content": "North."}, {"role": "user", "content": "And when?"},
        {"role": "assistant", "content": "Daily."}, {"role": "user", "content": "Why?"}]
    for turns in (2, 4, 6):
        assert as_ollama(made, chat[:turns]) == render(tokenizer, chat[:turns], generation=True)
    if template != OWN_SYSTEM:  # its own system message stands in no question's frame
        assert as_ollama(made, chat[1:]) == render(tokenizer, chat[1:], generation=True)


def test_a_system_message_that_moves_to_the_last_question_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] != 'system' %}<|{{ m['role'] }}|>"
        "{% if loop.last and messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}"
        "{% endif %}{{ m['content'] }}<|end|>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}")
    with pytest.raises(ModelError, match="cannot be put into Ollama's language"):
        pieces(tokenizer)


@pytest.mark.parametrize("template", [
    "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}",
    "{% for m in messages %}{{ m['content'] }}{{ m['content'] }}{% endfor %}",
    "{% for m in messages %}{{ '{{' }}{{ m['content'] }}{% endfor %}",
])
def test_a_template_that_does_not_fit_is_refused(tokenizer: Any, template: str) -> None:
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match="cannot be put into Ollama's language"):
        pieces(tokenizer)


def test_an_instruction_cannot_leave_its_quotation_marks(tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="three quotation marks"):
        modelfile(tokenizer, gguf="m.gguf", instruction='a""" \nFROM other', stops=[2])


def test_the_modelfile_has_weights_template_instruction_and_stops(lora: Path,
                                                                   tmp_path: Path) -> None:
    report = export(load({}).values, lora, to="ollama", out=tmp_path / "o")
    assert set(report.files) == {"Modelfile", "export.json", f"{lora.name}.gguf"}
    text = (tmp_path / "o" / "Modelfile").read_text()
    trained = json.loads((lora / "adapter" / "phi3kit.json").read_text())["instruction"]
    assert (tmp_path / "o" / re.findall(r"^FROM (\S+)$", text, re.MULTILINE)[0]).is_file()
    assert f'SYSTEM """{trained}"""' in text
    assert re.findall(r'^PARAMETER stop "(.*)"$', text, re.MULTILINE) == [
        "<|endoftext|>", "<|end|>"]
    assert "-f Modelfile" in report.command and lora.name in report.command
