"""Tokens looked up by words are those of the text."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from phi3kit.ingest import tokens
from phi3kit.ingest.openvino import truncated
from phi3kit.models.packaged import minilm
from phi3kit.shipped import shipped

MINILM = Tokenizer.from_file(str(minilm() / "tokenizer.json"))
MINILM.no_truncation()
MINILM.no_padding()
# Spaces of all kinds, marks that join what is before them, controls, a script without spaces,
# special tokens and what is longer than the longest word that WordPiece looks at.
ODD = st.lists(st.one_of(
    st.sampled_from(["a", "the", " ", "  ", "\n", "\r\n", "\t", "\x0b", "\x0c", "\x1c", "\x85",
                     "\xa0", "\u2028", "\u3000", "\u200b", "\u200d", "\ufeff", "\x00", "\ufffd",
                     "\u0301", "e\u0301", "É", "ß", "İ", "漢字", "한글", "[SEP]", "[MASK]", "[sep]",
                     "##ing", "x" * 101, "don't", "3.14", "…", "😀"]),
    st.text(max_size=6)), max_size=30).map("".join)

CUT = [truncated(MINILM, window) for window in (2, 3, 8)]


def by_library(tokenizer, texts):
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


@given(ODD)
def test_any_text(text):
    held = tokens.Tokens(MINILM)
    assert held._by_words
    assert list(held.encode([text])) == by_library(MINILM, [text])
    assert held.count(text) == len(MINILM.encode(text, add_special_tokens=False).ids)


@given(ODD, st.sampled_from(CUT))
def test_any_text_cut_off(text, cut):
    assert list(tokens.Tokens(cut).encode([text])) == by_library(cut, [text])


def test_real_documents_and_little_room(monkeypatch):
    monkeypatch.setattr(tokens, "_WORDS", 20)
    texts = [path.read_text(encoding="utf-8")
             for path in sorted((shipped("data") / "documents").rglob("*.md"))]
    held = tokens.Tokens(MINILM)
    assert list(held.encode(texts)) == by_library(MINILM, texts)
    monkeypatch.undo()
    held = tokens.Tokens(MINILM)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda text: next(held.encode([text])), texts * 4))
    assert found == by_library(MINILM, texts * 4)


def test_what_has_no_spaces_is_not_kept():
    held = tokens.Tokens(MINILM)
    assert held.count("漢" * 60 + " the the cat") == 63
    assert held._held.keys() == {"the", "cat"}


@pytest.mark.parametrize("change", [
    lambda t: t.add_tokens([AddedToken("north gate")]),
    lambda t: setattr(t, "pre_tokenizer", pre_tokenizers.ByteLevel()),
    lambda t: setattr(t, "normalizer", normalizers.Replace(" ", "")),
    # Special tokens in the middle of the text's own, and a model of another kind.
    lambda t: setattr(t, "post_processor", processors.TemplateProcessing(
        single="$A [SEP] $A", special_tokens=[("[SEP]", 102)])),
    lambda t: setattr(t, "model", models.BPE(
        {"a": 0, " ": 1, "t": 2, "[UNK]": 3}, [], unk_token="[UNK]")),
])
def test_other_tokenizers_are_asked_themselves(change):
    tokenizer = Tokenizer.from_str(MINILM.to_str())
    change(tokenizer)
    held, text = tokens.Tokens(tokenizer), "The north gate, at the north gate"
    assert list(held.encode([text] * 300)) == by_library(tokenizer, [text] * 300)
    assert held.count(text) == len(tokenizer.encode(text, add_special_tokens=False).ids)
