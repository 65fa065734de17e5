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
    assert found.template().count("{{") == 3
    assert found.after_answer.strip() == "<|end|>"


def test_the_token_of_beginning_stands_in_one_place(tokenizer: Any) -> None:
    """Put in front by the tokenizer, hence by the GGUF file's flag, it is not in the template."""
    from tokenizers import processors

    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)])
    assert asked(tokenizer, "a", "b").startswith("<s><|system|>")
    assert pieces(tokenizer).template().startswith("<|system|>")


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
