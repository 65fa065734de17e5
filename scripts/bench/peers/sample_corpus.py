"""The corpus of the bench: as many files as asked for, always the same ones."""

from __future__ import annotations

import hashlib
import random
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WORDS = 240  # of a file: two chunks
SAMPLE = [path.read_text(encoding="utf-8").split()
          for path in sorted((ROOT / "data" / "documents").rglob("*.md"))]


def write(path: Path, number: int) -> None:
    """WORDS words of one of the sample's documents, in an order of this number's own."""
    words = random.Random(number).choices(SAMPLE[number % len(SAMPLE)], k=WORDS)
    lines = (" ".join(words[at:at + 60]) for at in range(0, WORDS, 60))
    path.write_text("\n\n".join(lines) + "\n", encoding="utf-8")


def corpus(folder: Path, files: int) -> Path:
    folder.mkdir()
    for number in range(files):
        write(folder / f"file{number:05}.txt", number)
    return folder


def hashing(folder: Path) -> float:
    started = time.perf_counter()
    for path in folder.iterdir():
        hashlib.sha256(path.read_bytes()).digest()
    return time.perf_counter() - started
