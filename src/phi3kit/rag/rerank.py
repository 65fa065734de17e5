"""The first passages, ordered anew by a model that reads question and passage together."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from phi3kit.errors import ModelError, first_line
from phi3kit.models.out_of_memory import out_of_memory
from phi3kit.models.sentence import fingerprint, sentence_model
from phi3kit.models.whole import require_whole
from phi3kit.records import Passage

# Pairs of a question and a passage that are scored at once.
_BATCH = 32


class Reranker:
    """A cross-encoder in a folder; its weights are loaded when they are first needed.

    Attributes:
        fingerprint: identity of weights, tokenizer and settings.
    """

    def __init__(self, name: str, folder: Path, device: str) -> None:
        self.fingerprint = fingerprint(folder)
        self._name = name
        self._folder = folder
        self._device = device

    def order(self, questions: Sequence[str],
              found: Sequence[Sequence[Passage]]) -> list[tuple[Passage, ...]]:
        """Each question's passages, those first that the model scores highest.

        Passages keep their own score, the cosine similarity. Equal scores keep their order.

        Raises:
            ModelError: the model cannot be loaded, or does not give one score for a pair.
        """
        pairs = [(question, f"{p.heading}\n{p.text}".strip())
                 for question, passages in zip(questions, found, strict=True) for p in passages]
        scores = iter(self._scores(pairs))
        ordered = []
        for passages in found:
            scored = [(next(scores), passage) for passage in passages]
            ordered.append(tuple(p for _, p in sorted(scored, key=lambda pair: -pair[0])))
        return ordered

    def _scores(self, pairs: list[tuple[str, str]]) -> list[float]:
        if not pairs:
            return []
        with out_of_memory(f"reranking {len(pairs):,} passages", _make_room,
                           device=str(self._model.device.type)):
            scores = self._model.predict(pairs, batch_size=_BATCH, show_progress_bar=False)
        return [float(score) for score in scores]

    @functools.cached_property
    def _model(self) -> Any:
        from phi3kit.models.hardware import pick_device
        from phi3kit.models.quiet import hush

        hush()  # before the import, which warns too
        import torch
        from safetensors import SafetensorError
        from sentence_transformers import CrossEncoder

        device = pick_device(self._device)
        try:
            with out_of_memory(f"loading the reranker {self._name}", _make_room, device=device):
                model = CrossEncoder(
                    str(self._folder), device=device, trust_remote_code=False,
                    local_files_only=True, model_kwargs={"use_safetensors": True},
                    # Scores as they are: a sigmoid would press the best of them together at 1,
                    # and the folder could name a function of its own.
                    activation_fn=torch.nn.Identity())
                require_whole(model, self._folder, where=self._name, kind="reranker")
        except (OSError, ValueError, RuntimeError, KeyError, ImportError, AttributeError,
                SafetensorError) as error:
            raise ModelError(f"the reranker cannot be loaded ({first_line(error)})",
                             where=self._name,
                             mend="Give a complete sentence-transformers cross-encoder") from error
        if model.num_labels != 1:
            raise ModelError(f"the reranker gives {model.num_labels} scores for a pair, not one",
                             where=self._name, mend="Give a cross-encoder made for ranking")
        return model


def _make_room() -> str:
    return "Make room, take a smaller cross-encoder, or leave out ask.rerank"


def open_reranker(name: str, *, device: str = "auto") -> Reranker:
    """The cross-encoder called `name`.

    Args:
        name: a folder, or a hub id. Only safetensors are loaded, and no code of the model's.
        device: "auto", "cpu", "cuda" or "mps".

    Raises:
        ModelError: no such model, hub not reachable, pickled weights, code in the model.
    """
    return Reranker(name, sentence_model(name, kind="reranker", setting="ask.rerank"), device)
