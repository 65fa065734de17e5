"""What holds of every encoded example, whatever stands in it: two real tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi3kit.dataset.encode import IGNORED, encode
from phi3kit.dataset.lengths import stop_ids
from phi3kit.errors import DataError
from phi3kit.records import Message

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=80).filter(str.strip)
CONTROL = st.sampled_from(["<|end|>", "<|im_end|>", "<s>", "<|endoftext|>", "<|assistant|>\n"])
SAID = st.lists(TEXT | CONTROL, min_size=1, max_size=3).map(" ".join)


@pytest.fixture(scope="module", params=["tiny-phi3", pytest.param(
    "smollm2", marks=pytest.mark.model)])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    from transformers import AutoTokenizer

    if request.param == "tiny-phi3":
        folder: Path = request.getfixturevalue("tiny_phi3")
    else:
        from phi3kit.models.packaged import smollm2

        folder = smollm2()
    return AutoTokenizer.from_pretrained(folder)


@settings(max_examples=60, deadline=None)
@given(SAID, SAID, st.integers(24, 400))
def test_every_row_is_trained_stops_and_begins_once(tokenizer: Any, question: str, answer: str,
                                                    limit: int) -> None:
    stops = stop_ids(tokenizer)
    messages: list[Message] = [{"role": "system", "content": "Be brief."},
                               {"role": "user", "content": question},
                               {"role": "assistant", "content": answer}]
    try:
        row = encode(tokenizer, messages, stops, limit)
    except DataError as error:
        # Reported, never trained empty.
        assert "does not fit" in str(error) or "no token for any" in str(error)
        return
    trained = [label for label in row.labels if label != IGNORED]
    assert len(row.input_ids) <= limit
    assert len(trained) >= 2  # something said, and the end of it
    # The end of the turn is trained, once; nothing inside the answer stops it, and no token
    # that is trained is the one for padding.
    assert trained[-1] in stops and not set(trained[:-1]) & set(stops)
    assert tokenizer.pad_token_id not in trained
    starts = tokenizer("a", add_special_tokens=True)["input_ids"]
    if starts[0] == tokenizer.bos_token_id:
        assert row.input_ids.count(tokenizer.bos_token_id) == 1
    assert all(label in (IGNORED, token)
               for label, token in zip(row.labels, row.input_ids, strict=True))


def test_the_turns_end_is_honoured_at_generation(tiny_phi3: Path) -> None:
    from transformers import AutoTokenizer

    from phi3kit.models.generate import open_generator
    from phi3kit.settings import ModelSettings

    tokenizer = AutoTokenizer.from_pretrained(tiny_phi3)
    generator = open_generator(ModelSettings(name=str(tiny_phi3)))
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    assert end in stop_ids(tokenizer)
    assert set(stop_ids(tokenizer)) <= set(generator._stops)
