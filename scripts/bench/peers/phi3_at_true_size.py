"""Phi-3-mini at its true size with random weights: its speed and memory need no download.

`python phi3_at_true_size.py FOLDER [--tiny]` writes config, weights and a tokenizer of the same
vocabulary; `--tiny` a model of a few megabytes, to try the bench where no GPU is.
"""

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, Phi3Config, PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parents[3]
SPECIAL = ["<unk>", "<s>", "</s>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>",
           "<|end|>"]
# Written from the documented form of a Phi-3 chat.
TEMPLATE = ("{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}"
            "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}")
# microsoft/Phi-3-mini-4k-instruct's config.json.
TRUE = {"hidden_size": 3072, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 32, "intermediate_size": 8192, "vocab_size": 32064,
        "sliding_window": 2047}
TINY = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 4, "intermediate_size": 128, "vocab_size": 4000}


def tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE over the sample's documents."""
    own = Tokenizer(models.BPE(unk_token="<unk>"))
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    files = [str(path) for path in sorted((ROOT / "data" / "documents").rglob("*.md"))]
    own.train(files, trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=SPECIAL,
                                         initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                         show_progress=False))
    return PreTrainedTokenizerFast(
        tokenizer_object=own, bos_token="<s>", eos_token="<|end|>", pad_token="<|endoftext|>",
        unk_token="<unk>", chat_template=TEMPLATE)


def main() -> None:
    folder = Path(sys.argv[1])
    shape = TINY if "--tiny" in sys.argv else TRUE
    words = tokenizer(min(shape["vocab_size"], 32000))
    config = Phi3Config(
        **shape, max_position_embeddings=4096, original_max_position_embeddings=4096,
        tie_word_embeddings=False, bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id)
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.generation_config.eos_token_id = words.eos_token_id
    model.save_pretrained(folder)
    words.save_pretrained(folder)


if __name__ == "__main__":
    main()
