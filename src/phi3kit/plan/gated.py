"""Decoders with a gate in their feed-forward layers whose weights `plan` counts.

A kind that is not here may have layers that nothing in a config.json tells of in the names that
are read: convolutions, state spaces, latent attention, layers that are used twice. It is refused.
A test compares what is counted with the models that transformers builds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Gated:
    """What a kind of decoder takes where its config.json does not tell, and how it is built.

    Attributes:
        tied: embeddings and output layer are one matrix.
        head_dim: width of a head; None: that of the model over the number of heads.
        fused: query, key and value are one module, and so are gate and up.
        plain: its norms only scale, and SiLU is at the gate, with nothing else around it: what
            `finetune` computes with less memory on a CPU (finetune/elementwise.py).
    """

    tied: bool = False
    head_dim: int | None = None
    fused: bool = False
    plain: bool = True


# By `model_type`.
GATED: Mapping[str, Gated] = MappingProxyType({
    "bitnet": Gated(plain=False),
    "cohere": Gated(tied=True, plain=False),
    "cohere2": Gated(tied=True, plain=False),
    "cwm": Gated(head_dim=128),
    "diffllama": Gated(),
    "ernie4_5": Gated(tied=True, head_dim=128),
    "exaone4": Gated(),
    "gemma": Gated(tied=True, head_dim=256, plain=False),
    "gemma2": Gated(tied=True, head_dim=256, plain=False),
    "gemma3_text": Gated(tied=True, head_dim=256, plain=False),
    "glm": Gated(head_dim=128),
    "glm4": Gated(head_dim=128),
    "granite": Gated(),
    "granite_swa": Gated(tied=True),
    "helium": Gated(head_dim=128),
    "hunyuan_v1_dense": Gated(),
    "hyperclovax": Gated(),
    "iquestcoder": Gated(head_dim=128),
    "internlm3": Gated(head_dim=128),
    "llama": Gated(),
    "ministral": Gated(),
    "ministral3": Gated(head_dim=128),
    "mistral": Gated(),
    "olmo": Gated(plain=False),
    "olmo2": Gated(),
    "olmo3": Gated(),
    "phi3": Gated(fused=True),
    "qwen2": Gated(),
    "qwen3": Gated(head_dim=128),
    "seed_oss": Gated(head_dim=128),
    "smollm3": Gated(tied=True),
    "stablelm": Gated(plain=False),
    "vaultgemma": Gated(tied=True, head_dim=256, plain=False),
})
