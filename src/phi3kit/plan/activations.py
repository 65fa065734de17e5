"""What a training step holds between forward and backward, in bytes.

Counted by following every storage of `phi3kit finetune` through a step (a test repeats the
count). With h, k, i and v the widths of the layer, the keys, the feed-forward layer and the
vocabulary, per token:

- a layer holds 20h + 6k + 8i bytes (16h + 4k + 8i where query, key and value, and gate and up,
  are modules of their own): 16-bit tensors, but float32 inside the norms. Korthikanti et al.
  2022 (section 4) count 34h for a classic layer of i = 4h, beside the attention matrix. In float32
  it is 32h + 12k + 16i (24h + 8k + 16i);
- on a CPU, where norms and gated units keep less (finetune/elementwise.py), an adapter's training
  holds 16h + 6k + 6i (12h + 4k + 6i), in float32 twice as much; not where processes share the
  layers out;
- without a gate it is 16h + 4k + 4i, or 10i where GELU is written out (`Shape.kept`), in float32
  28h + 8k + 8i or 20i. What is around the two matrices differs: of five kinds of such decoders the
  layers held 0.95 to 1.12 times as much;
- the attention matrix is not held: memory-efficient attention computes it in blocks (Rabe and
  Staats 2021). On a CPU it is for all but very long rows, as finetune/attention.py has it: a number
  per head and token of the row up to the end of its block of queries;
- gradient checkpointing (Chen et al. 2016) keeps h numbers per layer and recomputes one layer at
  a time, which with its gradients takes 4h + 4i bytes more, in float32 8i;
- the loss behind a frozen output layer is computed in blocks of 4 Mi logits, and holds h numbers
  per answer token (finetune/head.py); behind one that is trained it takes 14v bytes per answer
  token: 16-bit logits, and float32 logits, log-probabilities and gradient. Without the first it is
  12v in float32;
- AdamW takes two float32 tensors of the size of a weight, one weight at a time on a CPU, when the
  activations are gone; on CUDA, where one kernel does it all, none;
- the backward pass of the last layer takes 21h beside all that is kept, in float32 9h + 6i where
  that is more; where norms and gated units keep less, 12h or 4i - 2h, in float32 8h or 8i - 4h.
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
# Float32, the 16-bit product, and the 16-bit shares; or float32 logits and shares.
_LOGIT_BYTES = 4 + 2 + 2


def layer_activations(shape: Shape, *, float32: bool = False, lean: bool = False) -> int:
    """Bytes that one decoder layer holds per token between forward and backward.

    Args:
        lean: its norms and its gated unit keep less, see `_is_lean`.
    """
    if lean:
        size = 4 if float32 else 2
        widths = (8 * shape.hidden + 3 * shape.key_width if shape.fused else
                  6 * shape.hidden + 2 * shape.key_width)
        return size * (widths + 3 * shape.intermediate)
    inner = shape.kept * shape.intermediate
    if not shape.gated:
        return (28 * shape.hidden + 8 * shape.key_width + 4 * inner if float32 else
                16 * shape.hidden + 4 * shape.key_width + 2 * inner)
    if float32:
        attention = (32 * shape.hidden + 12 * shape.key_width if shape.fused else
                     24 * shape.hidden + 8 * shape.key_width)
        return attention + 4 * inner
    attention = (20 * shape.hidden + 6 * shape.key_width if shape.fused else
                 16 * shape.hidden + 4 * shape.key_width)
    return attention + 2 * inner


def backward_of_a_layer(shape: Shape, *, float32: bool, lean: bool) -> int:
    """Bytes per token that the backward pass of the last layer takes beside all that is kept."""
    hidden, inner = shape.hidden, shape.intermediate
    if lean:
        size, least = (4, 2) if float32 else (2, 6)
        return size * max(least * hidden, 2 * inner - hidden)
    return max(21 * hidden, 9 * hidden + 6 * inner if float32 else 0)


def activations(shape: Shape, method: Method, step: Step) -> int:
    """Bytes at the fullest moment of a step."""
    lean = _is_lean(shape, method, step)
    layer = _layer(shape, step, lean=lean)
    hidden, inner = shape.hidden, shape.intermediate
    if step.checkpointing:
        kept = step.number_bytes * hidden * shape.layers
        backward = layer + (8 * inner if step.float32 else 4 * hidden + 4 * inner)
    else:
        kept = layer * shape.layers
        backward = backward_of_a_layer(shape, float32=step.float32, lean=lean)
    # The loss is done before any layer's backward begins.
    held = step.tokens * kept + max(step.tokens * backward, _loss(shape, method, step))
    if method == "full" and step.place == "cpu":
        return max(held, 8 * shape.vocab * shape.hidden)
    return held


def copies(shape: Shape, method: Method, step: Step, adapter: int) -> int:
    """Bytes of weights in the type of the arithmetic, beside those that are kept.

    Full fine-tuning casts its float32 weights for each forward pass; an adapter's A and B are
    cast, and kept as long as their layer's activations; QLoRA unpacks the layer that is being
    computed, and on a CPU that holds all of them itself all, up to 2 GiB. In float32 nothing is
    cast.

    Args:
        adapter: its weights.
    """
    if method == "full":
        return 0 if step.float32 else 2 * shape.parameters
    # By each lane for itself.
    cast = 0 if step.float32 else step.lanes * (
        2 * adapter // (shape.layers if step.checkpointing else 1))
    if method == "lora":
        return cast
    unpacked = step.number_bytes * shape.linear
    held = step.place == "cpu" and not step.shared and unpacked <= UNPACKED_UP_TO
    return cast + (unpacked if held else step.lanes * (unpacked // shape.layers))


def _is_lean(shape: Shape, method: Method, step: Step) -> bool:
    """Whether norms and gated units keep less, as finetune/elementwise.py has it."""
    return (step.place == "cpu" and method != "full" and not step.shared
            and shape.gated and shape.plain)


def _layer(shape: Shape, step: Step, *, lean: bool) -> int:
    """Per token, with a row of the attention matrix for each head where that is kept."""
    kept = step.place == "cpu" and step.context <= ATTENTION_KEPT_UP_TO
    seen = min(step.context, (step.context + ATTENTION_BLOCK) // 2)  # in the mean
    return layer_activations(shape, float32=step.float32, lean=lean) + (
        step.number_bytes * shape.heads * seen if kept else 0)


def _loss(shape: Shape, method: Method, step: Step) -> int:
    answers = step.tokens * step.answers
    norm = (8 if step.float32 else 6) * shape.hidden * step.tokens
    if method == "full":
        return int((12 if step.float32 else 14) * shape.vocab * answers) + norm
    block = min(step.lanes * LOGITS_AT_ONCE, answers * shape.vocab)
    return int(block * _LOGIT_BYTES + step.number_bytes * shape.hidden * answers) + norm
