"""Template, tokenizer and context, looked at before a model trains."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from facts_to_learn import Configure

from phi3kit.errors import ModelError
from phi3kit.finetune.preflight import preflight
from phi3kit.finetune.train import finetune
from phi3kit.models.loading import load_base
from phi3kit.settings import FinetuneSettings, ModelSettings


def changed(learner: Path, tmp_path: Path, name: str, old: str, new: str) -> Path:
    folder = shutil.copytree(learner, tmp_path / "changed")
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))
    return folder


def test_a_mark_that_the_tokenizer_splits_is_refused(configure: Configure, learner: Path,
                                                     tmp_path: Path) -> None:
    base = changed(learner, tmp_path, "chat_template.jinja", "<|end|>", "<|eot|>")
    with pytest.raises(ModelError, match=r"writes <\|eot\|>, which the tokenizer takes for \d+"
                       ) as caught:
        finetune(configure(model__name=str(base)))
    assert "\n" not in str(caught.value)


def test_padding_is_no_token_that_ends_an_answer(learner: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    def pad(folder: Path) -> str:
        return str(load_base(ModelSettings(name=str(folder), device="cpu"),
                             quantization="none").tokenizer.pad_token)

    assert pad(learner) == "<|endoftext|>"  # the model's own is kept where it ends nothing
    base = changed(learner, tmp_path, "tokenizer_config.json",
                   '"pad_token": "<|endoftext|>"', '"pad_token": "<|end|>"')
    assert AutoTokenizer.from_pretrained(base).pad_token == "<|end|>"
    assert pad(base) == "<unk>"
    settings = json.loads((base / "tokenizer_config.json").read_text())
    for name in ("pad_token", "unk_token"):
        settings.pop(name)
    (base / "tokenizer_config.json").write_text(json.dumps(settings))
    assert pad(base) == "<|endoftext|>"


@pytest.mark.parametrize(("wanted", "rope", "said"), [
    (512, "default", ""), (2048, "default", "the model holds 1,024 tokens"),
    (512, "longrope", ""), (1024, "longrope", "more than 512 tokens are trained with the model"),
    (1024, "default", "")])
def test_what_the_context_does_to_long_examples_is_said(learner: Path, wanted: int, rope: str,
                                                        said: str) -> None:
    from transformers import AutoTokenizer

    config = SimpleNamespace(rope_parameters={"rope_type": rope},
                             original_max_position_embeddings=512)
    loaded: Any = SimpleNamespace(tokenizer=AutoTokenizer.from_pretrained(learner), context=1024,
                                  model=SimpleNamespace(config=config))
    lines = preflight(loaded, FinetuneSettings(max_tokens=wanted))
    assert len(lines) == bool(said) and said in " ".join(lines)
