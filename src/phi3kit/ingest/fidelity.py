"""What int8 changes: the vectors of a collection beside those of the same model in float32."""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace
from typing import TYPE_CHECKING

from phi3kit.ingest.embed import open_embedder
from phi3kit.ingest.int8 import Int8Embedder
from phi3kit.ingest.site import site_of
from phi3kit.ingest.store import Store, open_store
from phi3kit.progress import note
from phi3kit.records import Fidelity, IngestReport
from phi3kit.settings import Settings

if TYPE_CHECKING:
    import numpy as np

NEAREST = 10
_TEXTS = 200  # a second or two in float32
_VECTORS = 4000  # read to choose them from


def measured(settings: Settings, report: IngestReport) -> IngestReport:
    """The report with `fidelity`, if that run embedded something in int8; also said on stderr."""
    if settings.ingest.precision != "int8" or not report.chunks_embedded:
        return report
    embedder = open_embedder(settings.ingest.embedder, device=settings.model.device,
                             precision="int8")
    assert isinstance(embedder, Int8Embedder)
    with contextlib.closing(open_store(site_of(report.store), report.collection)) as store:
        texts, vectors = _sample(store)
    found = compare(embedder.in_float32().encode(texts), vectors)
    if found is None:
        return report
    note(f"int8 against float32, {found.texts} chunks: cosine {found.cosine_mean:.4f} in the "
         f"mean, {found.cosine_least:.4f} at least; of the {found.nearest} nearest by float32, "
         f"int8 has {found.overlap:.1%}")
    return replace(report, fidelity=found)


def compare(exact: np.ndarray, found: np.ndarray) -> Fidelity | None:
    """How near `found` are to `exact`, both float32 [texts, dimension], rows of length 1.

    Each text in turn is the question, and the others are what can be found. None for fewer
    than two texts.
    """
    import numpy as np

    if len(exact) < 2:
        return None
    cosines = (exact * found).sum(axis=1)
    k = min(NEAREST, len(exact) - 1)
    wanted, got = _nearest(exact, k), _nearest(found, k)
    shared = [len(np.intersect1d(*pair)) / k for pair in zip(wanted, got, strict=True)]
    return Fidelity(texts=len(exact), cosine_mean=float(cosines.mean()),
                    cosine_least=float(cosines.min()), nearest=k, overlap=float(np.mean(shared)))


def _nearest(vectors: np.ndarray, k: int) -> np.ndarray:
    """Row numbers of the `k` nearest others of each row: [rows, k]."""
    import numpy as np

    similarities = vectors @ vectors.T
    np.fill_diagonal(similarities, -np.inf)
    nearest: np.ndarray = np.argsort(-similarities, axis=1)[:, :k]
    return nearest


def _sample(store: Store) -> tuple[list[str], np.ndarray]:
    """At most _TEXTS texts as they were embedded, and their vectors in the collection."""
    import numpy as np

    texts: list[str] = []
    pages: list[np.ndarray] = []
    for rows, vectors in store.with_vectors(min(1.0, _VECTORS / max(1, store.count()))):
        texts += [row.embedded for row in rows]
        pages.append(vectors)
    chosen = sorted(random.Random(0).sample(range(len(texts)), min(_TEXTS, len(texts))))
    return [texts[at] for at in chosen], np.concatenate(pages)[chosen]
