"""What a training step holds between forward and backward, in bytes.

Counted by following every storage of `phi3kit finetune` through a step (a test repeats the
count). With h, k, i and v the widths of the layer, the keys, the feed-forward layer and the
vocabulary, per token:

- a layer holds 20h + 6k + 8i bytes (16h + 4k + 8i where query, key and value, and gate and up,
  are modules of their own): 16-bit tensors, but float32 inside the norms. Korthikanti et al.
  2022 (section 4) count 34h for a classic layer of i = 4h, beside the attention matrix;
- the attention matrix is not held: memory-efficient attention computes it in blocks (Rabe and
  Staats 2021). On a CPU it is for all but very long rows, as finetune/attention.py has it: 2 bytes
  per head and token of the row up to the end of its block of queries;
- gradient checkpointing (Chen et al. 2016) keeps 2h bytes per layer and recomputes one layer at
  a time, which with its gradients takes 4h + 4i bytes more;
- the loss behind a frozen output layer is computed in blocks of 4 Mi logits, and holds 2h per
  answer token (finetune/head.py); behind one that is trained it takes 14v per answer token:
  16-bit logits, and float32 logits, log-probabilities and gradient;
- the backward pass of the last layer takes 21h beside all that is kept.
"""

from __future__ import annotations

from phi3kit.plan.shapes import Shape
from phi3kit.plan.step import Method, Step

# On a CPU: the longest row whose attention matrix is kept, the queries of its blocks, and the bytes
# up to which all 4-bit weights are held unpacked. Everywhere: logits at once behind a frozen output
# layer. The training code has them (finetune/attention.py, fused.py, head.py), a room above this
# one; a test compares.
ATTENTION_KEPT_UP_TO = 1024
ATTENTION_BLOCK = 128
UNPACKED_UP_TO = 2 * 2**30
LOGITS_AT_ONCE = 4 * 2**20
_LOGIT_BYTES = 4 + 2 + 2  # float32, the 16-bit product, and the 16-bit shares


def layer_activations(shape: Shape) -> int:
    """Bytes that one decoder layer holds per token between forward and backward."""
    attention = (20 * shape.hidden + 6 * shape.key_width if shape.fused else
                 16 * shape.hidden + 4 * shape.key_width)
    return attention + 8 * shape.intermediate


def activations(shape: Shape, method: Method, step: Step) -> int:
    """Bytes at the fullest moment of a step."""
    layer = _layer(shape, step)
    if step.checkpointing:
        kept = 2 * shape.hidden * shape.layers
        backward = layer + 4 * shape.hidden + 4 * shape.intermediate
    else:
        kept = layer * shape.layers
        backward = 21 * shape.hidden
    # The loss is done before any layer's backward begins.
    return step.tokens * kept + max(step.tokens * backward, _loss(shape, method, step))


def copies(shape: Shape, method: Method, step: Step, adapter: int) -> int:
    """Bytes of weights in the type of the arithmetic, beside those that are kept.

    Full fine-tuning casts its float32 weights for each forward pass; an adapter's A and B are
    cast, and kept as long as their layer's activations; QLoRA unpacks the layer that is being
    computed, and on a CPU all of them, up to 2 GiB.

    Args:
        adapter: its weights.
    """
    if method == "full":
        return 2 * shape.parameters
    cast = 2 * adapter // (shape.layers if step.checkpointing else 1)
    if method == "lora":
        return cast
    unpacked = 2 * shape.linear
    held = step.place == "cpu" and unpacked <= UNPACKED_UP_TO
    return cast + (unpacked if held else unpacked // shape.layers)


def _layer(shape: Shape, step: Step) -> int:
    """Per token, with a row of the attention matrix for each head where that is kept."""
    kept = step.place == "cpu" and step.context <= ATTENTION_KEPT_UP_TO
    seen = min(step.context, (step.context + ATTENTION_BLOCK) // 2)  # in the mean
    return layer_activations(shape) + (2 * shape.heads * seen if kept else 0)


def _loss(shape: Shape, method: Method, step: Step) -> int:
    answers = step.tokens * step.answers
    norm = 6 * shape.hidden * step.tokens
    if method == "full":
        return int(14 * shape.vocab * answers) + norm
    block = min(LOGITS_AT_ONCE, answers * shape.vocab)
    return int(block * _LOGIT_BYTES + 2 * shape.hidden * answers) + norm
