"""What is here: hardware, packages, packaged models, room, the hub. `doctor` runs these.

Each check looks at one thing for real and is guarded: a check that crashes is a failed
check with its error, never a traceback.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from phi3kit import settings
from phi3kit.errors import Phi3kitError, first_line
from phi3kit.models.packaged import cache_folder, minilm, smollm2
from phi3kit.progress import note
from phi3kit.records import Check

_GB = 10**9
_LEAST_DISK_GB = 2.0
_HUB_SECONDS = 3.0
# Mean absolute error of NF4 in blocks of 64 on normally distributed weights, relative to
# their spread, is 0.073 (from the code points in Dettmers et al. 2023, QLoRA, appendix E);
# well above it, the kernel of this machine computes something else.
_NF4_MOST_ERROR = 0.09
_NF4_LEAST_ERROR = 0.05  # below it, nothing was rounded to 16 values


def run_checks() -> Iterator[Check]:
    """Every check in turn; the slow ones (torch, the packaged model) come last."""
    yield from (guarded(name, check) for name, check in (
        ("Python", _python), ("processor", _processor), ("memory", _memory), ("disk", _disk),
        ("settings", _settings), ("Chroma", _chroma), ("model hub", _hub),
    ))
    if sys.stderr.isatty():
        note("importing torch and loading the packaged models (seconds) …")
    yield from (guarded(name, check) for name, check in (
        ("torch", _torch), ("CUDA GPU", _cuda), ("4-bit NF4", _nf4),
        ("packaged embedder", _embedder), ("packaged model", _packaged_model),
    ))


def guarded(name: str, check: Callable[[], Check]) -> Check:
    """The check's result; one that crashes is a failed check with its error."""
    try:
        return check()
    except Phi3kitError as error:
        return Check(name, False, error.what, error.mend or "")
    except Exception as error:  # a broken installation fails in any way it likes
        return Check(name, False, f"{type(error).__name__}: {first_line(error)}",
                     "Install phi3kit again into a fresh environment")


def _python() -> Check:
    return Check("Python", sys.version_info >= (3, 11),
                 f"{platform.python_version()} on {platform.platform(terse=True)}",
                 "Use Python 3.11 or newer")


def _processor() -> Check:
    from phi3kit.models.hardware import cpu_has_bfloat16
    from phi3kit.runs import machine

    here = machine()
    fast = cpu_has_bfloat16()
    return Check("processor", True, f"{here['processor']}, {here['cores']} usable cores, "
                 f"{'bfloat16 in hardware' if fast else 'no bfloat16: float32 is used'}")


def _memory() -> Check:
    from phi3kit.runs import machine

    found = machine()["memory_bytes"]
    if found is None:
        return Check("memory", None, "the system does not tell")
    return Check("memory", found >= 4 * _GB, f"{found / _GB:.1f} GB",
                 "4 GB are needed for the packaged model; close other programs")


def _disk() -> Check:
    values = settings.load().values
    places = {"runs": Path(values.runs), "cache": cache_folder()}
    if "://" not in values.ingest.store:  # else it is on a server
        places["store"] = Path(values.ingest.store)
    free = {name: shutil.disk_usage(_existing(path)).free / _GB for name, path in places.items()}
    return Check("disk", min(free.values()) >= _LEAST_DISK_GB,
                 "free: " + ", ".join(f"{name} {gb:.1f} GB" for name, gb in free.items()),
                 f"Free {_LEAST_DISK_GB:g} GB, or set runs, ingest.store or PHI3KIT_CACHE to "
                 "another disk")


def _existing(path: Path) -> Path:
    path = path.absolute()
    return next(p for p in (path, *path.parents) if p.exists())


def _settings() -> Check:
    resolved = settings.load()
    if resolved.file is None:
        return Check("settings", None, "no phi3kit.yaml here; defaults are used",
                     "`phi3kit init` writes one")
    from_file = sum(source == "file" for _, _, source in resolved.items())
    return Check("settings", True, f"{resolved.file}: {from_file} keys set, all known")


def _chroma() -> Check:
    # The version only: the store itself is opened by one room alone, when it is used.
    return _installed("Chroma", "chromadb")


def _installed(name: str, distribution: str) -> Check:
    try:
        return Check(name, True, f"{distribution} {version(distribution)}")
    except PackageNotFoundError:
        return Check(name, False, f"{distribution} is not installed",
                     f"Run: pip install {distribution}")


def _embedder() -> Check:
    folder = minilm()
    from safetensors import safe_open
    from tokenizers import Tokenizer

    tokens = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        width = file.get_slice("embeddings.word_embeddings.weight").get_shape()[1]
    return Check("packaged embedder", True,
                 f"MiniLM in {folder.parent.name}: {tokens} tokens, dimension {width}")


def _hub() -> Check:
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    out = "Not needed for packaged and local models; else use a cached one (HF_HUB_OFFLINE=1)"
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return Check("model hub", None, "HF_HUB_OFFLINE is set: not asked", out)
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    if not endpoint.startswith(("http://", "https://")):
        return Check("model hub", False, f"HF_ENDPOINT is no URL: {endpoint}",
                     "Set it to https://… or unset it")
    try:
        with urlopen(Request(endpoint, method="HEAD"), timeout=_HUB_SECONDS):
            pass
    except HTTPError:
        pass  # it answered
    except (URLError, OSError, ValueError) as error:
        return Check("model hub", None, f"{endpoint} cannot be reached "
                     f"({str(getattr(error, 'reason', error))[:80]})", out)
    return Check("model hub", True, f"{endpoint} answers")


def _torch() -> Check:
    import torch

    return Check("torch", True, f"{torch.__version__}, {torch.get_num_threads()} threads")


def _cuda() -> Check:
    import torch

    if not torch.cuda.is_available():
        why = "no CUDA device" if torch.version.cuda else "torch is a CPU build"
        if shutil.which("nvidia-smi"):
            return Check("CUDA GPU", False, f"{why}, though nvidia-smi is here",
                         "Install the CUDA build of torch that fits the driver")
        return Check("CUDA GPU", None, f"{why}; everything runs on the CPU",
                     "For Phi-3 and larger, use a machine with a GPU")
    found = []
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        found.append(f"{card.name}, {card.total_memory / _GB:.0f} GB, compute "
                     f"{card.major}.{card.minor}")
    return Check("CUDA GPU", True, f"{'; '.join(found)}; CUDA {torch.version.cuda}, driver "
                 f"{_driver()}")


def _driver() -> str:
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "unknown"
    words = text.split()
    return next((w for w in words if w[:1].isdigit() and "." in w), "unknown")


def _nf4() -> Check:
    """Quantise a matrix to NF4 and back, and hold the error against what NF4 must give."""
    import logging

    if find_spec("bitsandbytes") is None:
        return Check("4-bit NF4", None, "bitsandbytes is not installed: LoRA works, QLoRA does "
                     "not", "On Linux or Windows, run: pip install bitsandbytes")
    # On import it warns of optional kernels from a hub; the round trip is the test.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    device = "cuda" if torch.cuda.is_available() else "cpu"
    weights = torch.randn(256, 512, generator=torch.Generator().manual_seed(0)).to(device)
    packed, state = quantize_4bit(weights, quant_type="nf4", compress_statistics=True)
    error = float((dequantize_4bit(packed, state) - weights).abs().mean())
    rounded = _NF4_LEAST_ERROR < error < _NF4_MOST_ERROR
    return Check("4-bit NF4", rounded and packed.numel() * 2 == weights.numel(),
                 f"bitsandbytes {version('bitsandbytes')} on {device}: round trip with mean "
                 f"error {error:.3f} of the spread (NF4: 0.073)",
                 "Install a bitsandbytes build for this machine; without it use LoRA")


def _packaged_model() -> Check:
    """Load the weights and answer one token: a damaged copy shows here, not in a run."""
    from phi3kit.models.loading import load_base
    from phi3kit.settings import ModelSettings

    folder = smollm2()
    import torch

    loaded = load_base(ModelSettings(), quantization="none")
    with torch.no_grad():
        logits = loaded.model(torch.zeros((1, 1), dtype=torch.long, device=loaded.device)).logits
    return Check("packaged model", bool(torch.isfinite(logits).all()),
                 f"{loaded.name}: loaded in {loaded.dtype} on {loaded.device}, from {folder}",
                 f"Delete {folder} and run this again")
