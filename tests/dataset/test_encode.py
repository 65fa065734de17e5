from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phi3kit.dataset import lengths
from phi3kit.dataset.encode import IGNORED, encode
from phi3kit.dataset.examples import Example
from phi3kit.errors import DataError
from phi3kit.models.chat import render, stop_token_ids
from phi3kit.records import Message


def chat(*turns: str, system: str | None = None) -> list[Message]:
    roles = ("user", "assistant")
    first: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    return first + [{"role": roles[i % 2], "content": t} for i, t in enumerate(turns)]


class _Bare:
    class config:
        eos_token_id = None

    generation_config = None


@pytest.fixture(scope="module")
def phi(tiny_phi3: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_phi3)


def trained(tokenizer: Any, labels: tuple[int, ...]) -> str:
    return str(tokenizer.decode([label for label in labels if label != IGNORED]))


def stops(tokenizer: Any) -> list[int]:
    return stop_token_ids(tokenizer, _Bare())


CHATS = [
    chat("Who checks the seal?", "the lock keeper"),
    chat("Who?", "the lock keeper", system="Be brief."),
    chat("Who?", "the lock keeper", "And when?", "every seven days", "Why?", "It leaks."),
    chat("Who?", "\n\n two lines \n of it  "),
    chat("What does <|end|> mean?", "It ends: <|end|> and <|im_end|>, see."),
    chat("Wer?", "der Schleusenwärter 🛶"),
]


@pytest.mark.parametrize("messages", CHATS)
def test_trained_tokens_are_the_answers_and_their_end(phi: Any, messages: list[Message]) -> None:
    encoded = encode(phi, messages, stops(phi), 512)
    from phi3kit.models.chat import neutralise

    answers = [neutralise(phi, m["content"]) for m in messages if m["role"] == "assistant"]
    assert trained(phi, encoded.labels) == "".join(f"{a}<|end|>" for a in answers)
    assert phi.decode(encoded.input_ids) == render(phi, messages, generation=False)


@pytest.mark.model
@pytest.mark.parametrize("messages", CHATS)
def test_mask_of_the_packaged_model(messages: list[Message]) -> None:
    from transformers import AutoTokenizer

    from phi3kit.models.chat import neutralise
    from phi3kit.models.packaged import smollm2

    tokenizer = AutoTokenizer.from_pretrained(smollm2())
    encoded = encode(tokenizer, messages, stops(tokenizer), 512)
    answers = [neutralise(tokenizer, m["content"]) for m in messages if m["role"] == "assistant"]
    assert trained(tokenizer, encoded.labels) == "".join(f"{a}<|im_end|>" for a in answers)
    # Its vocabulary lacks some characters: an answer of these alone would train silence.
    with pytest.raises(DataError, match="no token for any character of the answer"):
        encode(tokenizer, chat("Who?", "\x16"), stops(tokenizer), 512)


@pytest.mark.parametrize("messages", CHATS)
def test_the_prompt_in_training_is_the_prompt_in_serving(phi: Any,
                                                         messages: list[Message]) -> None:
    encoded = encode(phi, messages, stops(phi), 512)
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            prompt = phi(render(phi, messages[:index], generation=True),
                         add_special_tokens=False)["input_ids"]
            assert list(encoded.input_ids[:len(prompt)]) == prompt
            assert encoded.labels[len(prompt)] == encoded.input_ids[len(prompt)]


def test_a_tokenizer_that_merges_across_the_boundary(phi: Any) -> None:
    """The prompt's last character and the answer's first are one token: they are kept apart."""
    import copy
    import json

    from tokenizers import Tokenizer

    merging = copy.deepcopy(phi)
    core = json.loads(merging.backend_tokenizer.to_str())
    core["model"]["vocab"]["Ċt"] = max(core["model"]["vocab"].values()) + 1
    core["model"]["merges"].insert(0, ["Ċ", "t"])
    core["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False,
                             "trim_offsets": True, "use_regex": False}
    merging._tokenizer = Tokenizer.from_str(json.dumps(core))
    messages = chat("Who?", "the keeper")
    whole = merging(render(merging, messages, generation=False),
                    add_special_tokens=False)["input_ids"]
    prompt = merging(render(merging, messages[:1], generation=True),
                     add_special_tokens=False)["input_ids"]
    assert whole[:len(prompt)] != prompt  # the tokenizer does merge
    encoded = encode(merging, messages, stops(merging), 512)
    assert list(encoded.input_ids[:len(prompt)]) == prompt
    assert trained(merging, encoded.labels) == "the keeper<|end|>"


def test_a_template_without_end_token_gets_eos(phi: Any) -> None:
    import copy

    plain = copy.deepcopy(phi)
    plain.chat_template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}")
    encoded = encode(plain, chat("Who?", "the keeper"), stops(plain), 512)
    assert encoded.input_ids[-1] == plain.eos_token_id == encoded.labels[-1]


def test_what_is_too_long_loses_the_start_of_its_prompt(phi: Any) -> None:
    question = " ".join(f"word{i}" for i in range(100)) + " THE END?"
    full = encode(phi, chat(question, "the keeper", system="Be brief."), stops(phi), 4096)
    cut = encode(phi, chat(question, "the keeper", system="Be brief."), stops(phi), 64)
    assert not full.cut and cut.cut
    assert 48 < len(cut.input_ids) <= 64
    text = phi.decode(cut.input_ids)
    assert "Be brief." in text and "THE END?" in text and "word0 " not in text
    assert trained(phi, cut.labels) == "the keeper<|end|>"


def test_a_long_chat_loses_its_oldest_exchanges(phi: Any) -> None:
    messages = chat("first?", "one", "second?", "two", "third?", "three", system="Be brief.")
    last = encode(phi, [messages[0], *messages[5:]], stops(phi), 512)
    cut = encode(phi, messages, stops(phi), len(last.input_ids))
    assert (cut.input_ids, cut.labels) == (last.input_ids, last.labels)
    assert (last.lost_answers, cut.lost_answers) == (0, 2)


def test_answers_that_a_cut_takes_along_are_told(phi: Any) -> None:
    """By example and in all, those of weight 0 not among them: nobody misses what was context."""
    def turns(asked: str) -> list[Message]:
        messages = chat(asked, "one", "second?", "two", "third?", "three")
        messages[3]["weight"] = 0
        return messages

    chats = [turns("first? " * 80), turns("first?"), chat("alone? " * 80, "one")]
    limit = len(encode(phi, chats[1], stops(phi), 512).input_ids)
    examples = [Example(tuple(messages), line) for line, messages in enumerate(chats, start=1)]
    measured = lengths.measure(phi, examples, chats, limit, where="t.jsonl")
    sizes = lengths.summary(measured, limit, "tiny")
    assert sizes is not None and (sizes.cut, sizes.lost_answers, sizes.losing_answers) == (2, 1, 1)
    one, other = lengths.cuts(measured)
    assert (one.line, one.answers, other.line, other.answers) == (1, 1, 3, 0)
    assert one.lost + other.lost == sizes.lost and one.tokens - one.lost <= limit


def test_an_answer_that_does_not_fit_is_refused(phi: Any) -> None:
    with pytest.raises(DataError, match="the answer does not fit into 32 tokens"):
        encode(phi, chat("Who?", "keeper " * 100), stops(phi), 32)


def test_a_system_message_that_fills_the_limit_is_named(phi: Any) -> None:
    with pytest.raises(DataError, match=r"the system message takes \d\d+ of them, the answer \d\. "
                                        r"Raise finetune\.max_tokens or shorten the system"):
        encode(phi, chat("Who?", "me", system="Be brief. " * 50), stops(phi), 64)
    with pytest.raises(DataError, match="or shorten the answer"):
        encode(phi, chat("Who?", "keeper " * 100, system="Be brief."), stops(phi), 64)


def test_no_answer_is_trained_without_anything_of_its_question(phi: Any) -> None:
    asked = chat("How much does it lift?", "Twelve tonnes.")
    length = len(encode(phi, chat("", "Twelve tonnes."), stops(phi), 512).input_ids)
    with pytest.raises(DataError, match="with any of its question"):
        encode(phi, asked, stops(phi), length)
    assert encode(phi, asked, stops(phi), length + 1).cut


def test_an_answer_of_weight_0_is_shown_and_not_trained(phi: Any) -> None:
    messages = chat("Who?", "the lock keeper", "And when?", "every seven days")
    whole = encode(phi, messages, stops(phi), 512)
    messages[1]["weight"] = 0
    encoded = encode(phi, messages, stops(phi), 512)
    assert encoded.input_ids == whole.input_ids
    assert trained(phi, encoded.labels) == "every seven days<|end|>"
    messages[1]["weight"], messages[3]["weight"] = 1, 0
    assert trained(phi, encode(phi, messages, stops(phi), 512).labels) == "the lock keeper<|end|>"
    # Cut to what carries no loss, it would be trained on nothing.
    with pytest.raises(DataError, match="answers of weight 1 do not fit"):
        encode(phi, messages, stops(phi), len(whole.input_ids) - 1)
