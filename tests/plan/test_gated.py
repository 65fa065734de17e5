"""What is counted of gated decoders, against the models that transformers builds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phi3kit.errors import ModelError
from phi3kit.plan.gated import GATED
from phi3kit.plan.shapes import shape_of

_SIZES = {"vocab_size": 1000, "hidden_size": 512, "num_hidden_layers": 2, "intermediate_size": 1024,
          "num_attention_heads": 8, "num_key_value_heads": 2, "pad_token_id": 0}
# What its published models have, where the class cannot be built without, or is built otherwise.
_OWN = {"helium": {"num_attention_heads": 4}, "hunyuan_v1_dense": {"head_dim": 64},
        "ministral": {"head_dim": 64}}
# Gate and up are one module there, and query, key and value are three: the count of an adapter
# takes them for five.
_HALF_FUSED = frozenset({"glm", "glm4"})


def written(folder: Path, **config: Any) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize("kind", GATED)
def test_weights_are_those_of_the_model(tmp_path: Path, kind: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = written(tmp_path / "few", model_type=kind, **_SIZES | _OWN.get(kind, {}))
    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(config)
    config.save_pretrained(tmp_path / "all")  # every key that transformers writes
    output = made.get_output_embeddings()
    linear = [layer.weight.shape for layer in made.modules()
              if isinstance(layer, torch.nn.Linear) and layer is not output]
    for shape in (shape_of(folder), shape_of(str(tmp_path / "all"))):
        assert shape.parameters == pytest.approx(made.num_parameters(), rel=0.02)
        assert shape.linear == sum(a * b for a, b in linear)
        if kind not in _HALF_FUSED:
            assert shape.layers * sum(shape.linear_widths) == sum(a + b for a, b in linear)


@pytest.mark.parametrize(("config", "said"), [
    ({"model_type": "lfm2"}, "of the kind 'lfm2', whose weights are not counted"),
    ({"model_type": "zamba2"}, "'zamba2'"), ({"model_type": "no-such"}, "'no-such'"),
    ({"model_type": ["llama"]}, "whose weights are not counted"),
    ({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}}, "'gemma3'"),
    ({"model_type": "llama", "kv_lora_rank": 256}, "latent attention"),
    ({"kv_lora_rank": 256}, "latent attention")])
def test_what_is_not_counted_is_refused(tmp_path: Path, config: dict[str, Any],
                                        said: str) -> None:
    with pytest.raises(ModelError) as error:
        shape_of(written(tmp_path, **_SIZES | config))
    assert said in str(error.value) and "Give its size instead" in str(error.value)
    assert "\n" not in str(error.value)


def test_one_that_does_not_say_what_it_is_is_taken_for_a_plain_decoder(tmp_path: Path) -> None:
    unsaid = shape_of(written(tmp_path / "unsaid", **_SIZES))
    assert unsaid.parameters == shape_of(
        written(tmp_path / "llama", model_type="llama", **_SIZES)).parameters
