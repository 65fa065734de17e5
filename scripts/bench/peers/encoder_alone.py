"""The encoder on what ingest embedded: `python encoder_alone.py STORE [PROBES]`.

Seconds for all texts in one call, with nothing read, cut or written. With PROBES > 0 also the
cosine of that many vectors of the store to sentence-transformers' in float32.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from phi3kit.ingest.embed import open_embedder
from phi3kit.ingest.store import open_store
from phi3kit.models.packaged import minilm

store = open_store(Path(sys.argv[1]), "documents")
probes = int(sys.argv[2]) if len(sys.argv) > 2 else 0
texts, vectors = [], []
for rows, page in store.with_vectors():
    texts += [row.embedded for row in rows]
    vectors.append(page)

embedder = open_embedder("minilm")
embedder.encode(["warm"])
started = time.perf_counter()
embedder.encode(texts)
found = {"chunks": len(texts), "seconds": time.perf_counter() - started}

if probes:
    import torch
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(minilm()), device="cpu",
                                    model_kwargs={"dtype": torch.float32})
    wanted = reference.encode(texts[:probes], normalize_embeddings=True, show_progress_bar=False)
    cosines = (np.concatenate(vectors)[:probes] * wanted).sum(axis=1)
    found |= {"cosine_least": float(cosines.min()), "cosine_mean": float(cosines.mean()),
              "cosine_texts": len(cosines)}
print(json.dumps(found))
