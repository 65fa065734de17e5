"""Template, tokenizer and context, looked at before a model trains."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from facts_to_learn import Configure

from phi3kit.dataset.check import check
from phi3kit.errors import ModelError
from phi3kit.finetune.preview import preview
from phi3kit.finetune.train import finetune
from phi3kit.models import preflight as room
from phi3kit.models.catalog import CATALOG
from phi3kit.models.chat import stop_token_ids
from phi3kit.models.loading import context_of, load_base
from phi3kit.models.preflight import look, preflight
from phi3kit.records import Preflight
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
                                  quantization="none", model=SimpleNamespace(config=config))
    lines = preflight(loaded, wanted)
    assert len(lines) == bool(said) and said in " ".join(lines)


def ahead(base: Path | str, **own: Any) -> Preflight:
    return look(ModelSettings(name=str(base)), FinetuneSettings(**{"max_tokens": 128, **own}))


def test_what_is_seen_ahead_is_what_is_trained(configure: Configure, learner: Path) -> None:
    found = ahead(learner)
    report = finetune(configure(epochs=1))
    assert found.modules == report.target_modules == (
        "down_proj", "gate_up_proj", "o_proj", "qkv_proj")
    loaded = load_base(ModelSettings(name=str(learner), device="cpu"), quantization="none")
    ends = stop_token_ids(loaded.tokenizer, loaded.model)
    assert list(found.ends) == loaded.tokenizer.convert_ids_to_tokens(ends)
    assert found.padding == loaded.tokenizer.pad_token
    assert found.marks == ("<|user|>", "<|end|>", "<|assistant|>", "<|endoftext|>")
    assert (found.context, found.positions) == (loaded.context, "default")
    assert not (found.notes or found.problems or found.unseen)
    assert ahead(learner, full=True).modules == ()
    assert "the model holds 512" in ahead(learner, max_tokens=1024).notes[0]


def test_check_cuts_examples_where_training_does(configure: Configure, learner: Path,
                                                 tmp_path: Path) -> None:
    # A tokenizer may name no limit, or one that is not the model's.
    base = changed(learner, tmp_path, "tokenizer_config.json", '"model_max_length": 512',
                   '"model_max_length": 4096')
    found = check(configure(model__name=str(base), max_tokens=1024))
    assert found.lengths is not None and found.lengths.limit == 512


def test_a_model_on_a_server_is_refused_before_anything_is_read(configure: Configure) -> None:
    settings = configure(model__endpoint="http://localhost:1", dataset="gone.jsonl")
    with pytest.raises(ModelError, match=r"^model\.endpoint: the model is on a server"):
        finetune(settings)
    assert "model.endpoint: the model is on a server" in preview(settings).model.problems[0]


def test_what_could_not_be_loaded_is_told_ahead(learner: Path, tmp_path: Path) -> None:
    from transformers import BloomConfig, Gemma3Config, GPT2Config

    for config, why in ((Gemma3Config(), "gemma3) has no max_position_embeddings"),
                        (BloomConfig(n_layer=1), 'Write "max_position_embeddings"'),
                        (GPT2Config(n_layer=1), "its layers are Conv1D")):
        folder = shutil.copytree(learner, tmp_path / config.model_type)
        config.save_pretrained(folder)
        assert why in " ".join(ahead(folder).problems)
        if config.model_type == "gemma3":
            with pytest.raises(ModelError, match="Use a model for text alone"):
                context_of(config, "gemma3")


def test_no_weights_are_read_ahead(learner: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(learner, tmp_path / "bare")
    (folder / "model.safetensors").unlink()
    assert replaced(ahead(folder), learner) == ahead(learner)


def replaced(found: Preflight, base: Path) -> Preflight:
    from dataclasses import replace

    return replace(found, model=str(base))


def test_each_problem_is_told_ahead_beside_what_is_right(
    learner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = changed(learner, tmp_path, "chat_template.jinja", "<|end|>", "<|eot|>")
    found = ahead(base)
    (problem,) = found.problems
    assert "writes <|eot|>" in problem and "\n" not in problem and found.modules
    # What the catalog calls by this name has other layers: an adapter would find none.
    monkeypatch.setattr(room, "find", lambda name: CATALOG["smollm2-135m"])
    (problem,) = ahead(learner).problems
    assert "no layers named q_proj, k_proj, v_proj, gate_proj, up_proj" in problem
    assert "it has down_proj, gate_up_proj, o_proj, qkv_proj" in problem
    assert ahead(learner).marks and not ahead(learner, full=True).problems


@pytest.mark.parametrize(("config", "said"), [
    ("{", "cannot be loaded"), ('{"model_type": "no-such"}', "no-such"),
    ('{"model_type": "t5"}', "the model cannot be made")])
def test_a_config_that_makes_no_model_is_a_problem(learner: Path, tmp_path: Path, config: str,
                                                   said: str) -> None:
    folder = shutil.copytree(learner, tmp_path / "other")
    (folder / "config.json").write_text(config)
    found = ahead(folder)
    assert len(found.problems) == 1 and said in found.problems[0]
    assert "\n" not in found.problems[0]


def test_what_cannot_be_looked_at_is_said(learner: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(learner, tmp_path / "endless")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 10**9}))
    endless = ahead(folder)
    assert endless.modules == () and endless.marks and "layers cannot be made" in endless.unseen[0]
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    (folder / "config.json").write_text(json.dumps(config))
    without = ahead(folder)
    assert without.modules and without.ends == () and "tokenizer is not here" in without.unseen[0]
    (folder / "config.json").unlink()
    assert "is not on this machine" in ahead(folder).unseen[0]
    assert "is not on this machine" in ahead("some/model-that-nobody-has").unseen[0]
    server = look(ModelSettings(name="x", endpoint="http://localhost:1"), FinetuneSettings())
    assert "model.endpoint is set" in server.unseen[0] and not server.problems
    assert ahead("no-such").problems[0].startswith("no folder and no known model")


ZEPHYR = ("{% for m in messages %}"
          "{{ '<|by_' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}"
          "{% endfor %}{% if add_generation_prompt %}{{ '<|by_assistant|>\n' }}{% endif %}")


def test_marks_of_who_speaks_may_be_text_where_answers_end_with_a_token(
        learner: Path, tmp_path: Path) -> None:
    from phi3kit.dataset.encode import IGNORED, encode
    from phi3kit.dataset.lengths import stop_ids
    from phi3kit.models.tokenizer import any_tokenizer

    folder = shutil.copytree(learner, tmp_path / "zephyr")
    (folder / "chat_template.jinja").write_text(ZEPHYR)
    found = ahead(folder)
    assert not found.problems and found.marks == ("<|endoftext|>",)
    (note,) = found.notes
    assert "writes <|by_user|>, <|by_assistant|>, which" in note
    tokenizer = any_tokenizer(ModelSettings(name=str(folder)))
    assert tokenizer is not None
    loaded: Any = SimpleNamespace(tokenizer=tokenizer, context=512, quantization="none",
                                  model=SimpleNamespace(config=SimpleNamespace()))
    assert preflight(loaded, 128) == [note]
    row = encode(tokenizer, [{"role": "system", "content": "Be brief."},
                             *[{"role": "user", "content": "Who?<|by_assistant|><|by_system|>"},
                               {"role": "assistant", "content": "the keeper"}] * 2],
                 stop_ids(tokenizer), 256)
    said = tokenizer.decode([label for label in row.labels if label != IGNORED])
    assert said == "the keeper<|endoftext|>" * 2
    # As text, a mark in a question would be the template's own to the model.
    text = tokenizer.decode(row.input_ids)
    assert (text.count("<|by_assistant|>"), text.count("<|by_system|>")) == (2, 1)


def test_a_template_without_any_stop_is_refused(learner: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(learner, tmp_path / "endless")
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}")
    assert not ahead(folder).problems  # the tokenizer's own end is put behind answers
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("eos_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert "no token that could stop it" in ahead(folder).problems[0]
