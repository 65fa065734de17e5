"""The corpus into Chroma with phi3kit: `python with_phi3kit.py CORPUS STORE MODEL TOKENS [int8]`.

MODEL is taken from the settings' own default, the packaged MiniLM. With int8, what that changes
is measured after the clock has stopped.
"""

import json
import sys
import time
from pathlib import Path

corpus, store, _, tokens = sys.argv[1:5]
precision = sys.argv[5] if len(sys.argv) > 5 else "auto"

import chromadb  # noqa: E402, F401  # the peers import it before their clock starts too

from phi3kit import settings  # noqa: E402
from phi3kit.ingest.reconcile import embedder_of, ingest  # noqa: E402
from phi3kit.records import as_json  # noqa: E402

resolved = settings.load({"ingest.store": store, "ingest.chunk_tokens": int(tokens),
                          "ingest.precision": precision}).values
embedder = embedder_of(resolved)
embedder.encode(["warm"])

started = time.perf_counter()
report = ingest(resolved, [corpus], embedder=embedder)
seconds = time.perf_counter() - started
if report.failed:
    sys.exit(f"{report.failed[0]}")
if precision == "int8":
    from phi3kit.ingest import fidelity

    report = fidelity.measured(resolved, report)
print(json.dumps({"chunks": report.chunks, "seconds": seconds,
                  "fidelity": as_json(report.fidelity),
                  "files": sum(path.is_file() for path in Path(corpus).iterdir())}))
