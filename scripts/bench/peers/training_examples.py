"""Chat examples of varied length: a question about an excerpt, answered from it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
SYSTEM = "Answer the question briefly from the text."
_SHORTEST, _LONGEST = 20, 420  # words of an excerpt: some 40 to 700 tokens of an example


def examples(count: int, seed: int) -> list[dict[str, Any]]:
    """{"messages": [system, user, assistant]}, lengths drawn evenly on a logarithmic scale."""
    rng = random.Random(seed)
    # End to end: a document alone is shorter than the longest excerpts.
    words = [word for path in sorted((ROOT / "data" / "documents").rglob("*.md"))
             for word in path.read_text(encoding="utf-8").split()]
    found = []
    for number in range(count):
        length = round(_SHORTEST * (_LONGEST / _SHORTEST) ** rng.random())
        start = rng.randrange(len(words) - length + 1)
        excerpt = words[start:start + length]
        at = rng.randrange(max(1, length - 8))
        answer = excerpt[at:at + rng.randint(6, 40)]
        found.append({"messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": f"{' '.join(excerpt)}\n\nWhat follows on "
                                        f"'{' '.join(excerpt[max(0, at - 3):at])}'? ({number})"},
            {"role": "assistant", "content": " ".join(answer)}]})
    return found


def long_examples(count: int, seed: int, context: int = 2048) -> list[dict[str, Any]]:
    """The same with excerpts of 1,400 words, so that rows of 2,048 tokens are about full.

    Of as many more for a longer context. With the tokenizer of phi3_at_true_size.py rows of 2,048
    take 1,845 to 1,993 tokens.
    """
    rng = random.Random(seed)
    words = [word for path in sorted((ROOT / "data" / "documents").rglob("*.md"))
             for word in path.read_text(encoding="utf-8").split()]
    length, found = 1400 * context // 2048, []
    for number in range(count):
        start = rng.randrange(len(words) - length - 200)
        end = start + length
        excerpt, answer = words[start:end], words[end:end + 100]
        found.append({"messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": f"{' '.join(excerpt)}\n\nWhat follows? ({number})"},
            {"role": "assistant", "content": " ".join(answer)}]})
    return found


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """As JSON Lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
                    encoding="utf-8")
    return path
