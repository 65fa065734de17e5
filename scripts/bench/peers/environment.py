"""The environment that the peers run in: made once, under the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LANGCHAIN = ("langchain-chroma", "langchain-huggingface", "langchain-text-splitters")
LLAMAINDEX = ("llama-index-core", "llama-index-vector-stores-chroma",
              "llama-index-embeddings-huggingface")
# torch by name, or a wheel with gigabytes of CUDA is taken.
SHARED = ("torch==2.13.0", "sentence-transformers", "chromadb")


def prepare() -> Path | str:
    """The environment's Python; or, in one line, why there is none."""
    constraints = ROOT / "constraints.txt"
    wanted = [*SHARED, *LANGCHAIN, *LLAMAINDEX]
    key = hashlib.sha256("\n".join([sys.version, *wanted,
                                    constraints.read_text(encoding="utf-8")]).encode())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / f"phi3kit-bench-peers-{key.hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if (folder / "complete").is_file():
        return python
    print("installing the peers, once (minutes) …", file=sys.stderr)
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True,
                       capture_output=True, text=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--constraint",
                        str(constraints), *wanted], check=True, capture_output=True, text=True)
    except (subprocess.CalledProcessError, OSError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        return f"the peers cannot be installed: {said[-1] if said else type(error).__name__}"
    (folder / "complete").touch()
    return python


def peer_versions(python: Path) -> dict[str, str]:
    """Installed versions of what the peers are and share with phi3kit."""
    names = [name.partition("==")[0] for name in (*SHARED, *LANGCHAIN, *LLAMAINDEX)]
    code = ("import importlib.metadata as m, json, sys; "
            "print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))")
    found: dict[str, str] = json.loads(subprocess.run(
        [str(python), "-c", code, *names], check=True, capture_output=True, text=True).stdout)
    return found
