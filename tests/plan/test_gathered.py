"""What full fine-tuning by shares holds beside its share, against torch's own count."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from phi3kit.plan.cards import gathered, gathered_whole
from phi3kit.plan.shapes import _shape

HIDDEN, INTERMEDIATE, HEADS, LAYERS, PROCESSES = 256, 512, 4, 4, 8


@pytest.fixture
def one_of_eight() -> Iterator[None]:
    """A process that has seven others, which answer with anything."""
    from torch import distributed
    from torch.testing._internal.distributed.fake_pg import FakeStore

    distributed.init_process_group("fake", rank=0, world_size=PROCESSES, store=FakeStore())
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("vocab", [300, 12000])  # layers weigh most, or embeddings
def test_what_is_gathered_is_what_the_plan_counts(
    one_of_eight: None, vocab: int, dtype: str,
) -> None:
    import torch
    from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
    from transformers import Phi3Config, Phi3ForCausalLM

    from phi3kit.finetune.methods import arithmetic
    from phi3kit.finetune.processes import Processes
    from phi3kit.finetune.shares import share_out
    from phi3kit.models.loading import Loaded
    from phi3kit.settings import FinetuneSettings

    model = Phi3ForCausalLM(Phi3Config(
        vocab_size=vocab, hidden_size=HIDDEN, intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=HEADS,
        pad_token_id=0, bos_token_id=1, eos_token_id=2)).train()
    parameters = model.num_parameters()
    loaded = Loaded(model=model, tokenizer=None, name="made here", fingerprint="",
                    quantization="none", dtype=dtype, device="cpu", spec=None, context=512)
    share_out(loaded, Processes(0, PROCESSES), "cpu")
    ids = torch.tensor([[3, 4]])
    tracker = FSDPMemTracker(model)
    with tracker:
        with arithmetic(loaded, FinetuneSettings(full=True)):
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
    shape = _shape("made here", hidden=HIDDEN, layers=LAYERS, heads=HEADS, kv_heads=HEADS,
                   intermediate=INTERMEDIATE, vocab=vocab, fused=True, parameters=parameters,
                   context=512)
    held = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    # The share of the weights, and of the gradients, which come layer by layer.
    least, most = (of_one * parameters / PROCESSES for of_one in (4, 8))
    assert least < held - gathered_whole(shape, float32=dtype == "float32") < most


def test_an_adapters_base_is_gathered_two_layers_at_a_time(one_of_eight: None) -> None:
    import torch
    from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
    from transformers import Phi3Config, Phi3ForCausalLM

    from phi3kit.finetune.processes import Processes
    from phi3kit.finetune.sharding import shard
    from phi3kit.models.adapters import add_lora
    from phi3kit.models.causal import causal_of
    from phi3kit.models.loading import Loaded

    vocab = 300
    model = Phi3ForCausalLM(Phi3Config(
        vocab_size=vocab, hidden_size=HIDDEN, intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=HEADS,
        pad_token_id=0, bos_token_id=1, eos_token_id=2)).to(torch.bfloat16).requires_grad_(False)
    shape = _shape("made here", hidden=HIDDEN, layers=LAYERS, heads=HEADS, kv_heads=HEADS,
                   intermediate=INTERMEDIATE, vocab=vocab, fused=True,
                   parameters=model.num_parameters(), context=512)
    loaded = Loaded(model=model, tokenizer=None, name="made here", fingerprint="",
                    quantization="none", dtype="bfloat16", device="cpu", spec=None, context=512)
    add_lora(loaded, rank=4, alpha=8, dropout=0.0, seed=0)
    shard(loaded, Processes(0, PROCESSES), "cpu")
    decoder = causal_of(loaded.model).base_model
    tracker = FSDPMemTracker(decoder)
    with tracker:
        found = decoder(input_ids=torch.tensor([[3, 4]]), use_cache=False)
        found.last_hidden_state.sum().backward()
    held = {str(kind).rpartition(".")[2]: count for kind, count
            in tracker.get_tracker_snapshot("peak")[torch.device("cpu")].items()}
    collected = held["ALL_GATHER"] + held["UNSHARDED_PARAM"]
    assert collected == pytest.approx(2 * gathered(shape, "lora"), rel=0.01)  # norms besides
