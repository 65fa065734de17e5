"""What is counted of decoders without gates, against the models that transformers builds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phi3kit.plan.shapes import Shape, shape_of
from phi3kit.plan.ungated import UNGATED

_GPT2 = {"n_embd": 512, "n_layer": 2, "n_head": 8, "n_positions": 256}
_NAMES = {
    "biogpt": {"hidden_size": 512, "num_hidden_layers": 2, "num_attention_heads": 8,
               "intermediate_size": 1024, "max_position_embeddings": 256},
    "bloom": {"hidden_size": 512, "n_layer": 2, "n_head": 8},
    "falcon": {"hidden_size": 512, "num_hidden_layers": 2, "num_attention_heads": 8},
    "codegen": _GPT2, "gpt2": _GPT2, "gpt_bigcode": _GPT2, "gptj": {**_GPT2, "rotary_dim": 16},
    "gpt_neo": {"hidden_size": 512, "num_layers": 2, "num_heads": 8, "intermediate_size": 1024,
                "attention_types": [[["global", "local"], 1]], "max_position_embeddings": 256},
    "opt": {"hidden_size": 512, "num_hidden_layers": 2, "num_attention_heads": 8, "ffn_dim": 1024,
            "word_embed_proj_dim": 512, "max_position_embeddings": 256},
    "nemotron": {"hidden_size": 512, "num_hidden_layers": 2, "num_attention_heads": 8,
                 "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 1024},
    "starcoder2": {"hidden_size": 512, "num_hidden_layers": 2, "num_attention_heads": 8,
                   "num_key_value_heads": 2, "intermediate_size": 1024},
}
_PLAIN = {"hidden_size": 512, "num_hidden_layers": 2, "num_attention_heads": 8,
          "intermediate_size": 1024}
_CASES = [(kind, {**_NAMES.get(kind, _PLAIN)}) for kind in UNGATED] + [
    ("falcon", {**_NAMES["falcon"], "new_decoder_architecture": True, "num_kv_heads": 2}),
    ("falcon", {**_NAMES["falcon"], "multi_query": False}),
    ("gpt_bigcode", {**_NAMES["gpt_bigcode"], "multi_query": False})]


def planned(folder: Path, kind: str, sizes: dict[str, Any]) -> Shape:
    (folder / "config.json").write_text(json.dumps(
        {"model_type": kind, "vocab_size": 1000, **sizes}))
    return shape_of(str(folder))


@pytest.mark.parametrize(("kind", "sizes"), _CASES)
def test_weights_are_those_of_the_model(tmp_path: Path, kind: str, sizes: dict[str, Any]) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.pytorch_utils import Conv1D

    shape = planned(tmp_path, kind, sizes)
    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path))
    output = made.get_output_embeddings()
    linear = [layer.weight.shape for layer in made.modules()
              if isinstance(layer, (torch.nn.Linear, Conv1D)) and layer is not output]
    assert shape.linear == sum(a * b for a, b in linear)
    assert shape.layers * sum(shape.linear_widths) == sum(a + b for a, b in linear)
    # Beside them: biases, and the second half of a norm.
    assert shape.parameters == pytest.approx(made.num_parameters(), rel=0.01)
    assert "without a gate" in shape.assumption


@pytest.mark.parametrize(("kind", "sizes", "billions"), [
    ("phi", {"vocab_size": 51200, "hidden_size": 2560, "intermediate_size": 10240,
             "num_hidden_layers": 32, "num_attention_heads": 32}, 2.78),
    ("gpt_neox", {"vocab_size": 50432, "hidden_size": 4096, "intermediate_size": 16384,
                  "num_hidden_layers": 32, "num_attention_heads": 32}, 6.86),
    ("starcoder2", {"vocab_size": 49152, "hidden_size": 4608, "intermediate_size": 18432,
                    "num_hidden_layers": 32, "num_attention_heads": 36,
                    "num_key_value_heads": 4}, 7.17)])
def test_published_sizes(tmp_path: Path, kind: str, sizes: dict[str, Any],
                         billions: float) -> None:
    assert planned(tmp_path, kind, sizes).parameters / 1e9 == pytest.approx(billions, abs=0.01)
