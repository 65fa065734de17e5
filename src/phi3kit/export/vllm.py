"""The command that serves base and adapter, unmerged, with vLLM."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3kit.errors import ModelError

if TYPE_CHECKING:
    from phi3kit.export.source import Source
    from phi3kit.settings import ModelSettings

# The values that vLLM takes for --max-lora-rank (vllm.config.lora.MaxLoRARanks).
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def served_rank(adapter: Path) -> int:
    """The smallest rank that vLLM has for an adapter.

    Raises:
        ModelError: an adapter of a kind that vLLM does not serve: DoRA, biases, whole layers,
            or a rank above its highest.
    """
    config: dict[str, Any] = json.loads(
        (adapter / "adapter_config.json").read_text(encoding="utf-8"))
    why = None
    if config.get("use_dora"):
        why = "DoRA"
    elif config.get("bias", "none") != "none":
        why = "trained biases"
    elif config.get("modules_to_save"):
        why = "layers that were trained whole"
    if why:
        raise ModelError(f"vLLM does not serve adapters with {why}", where=str(adapter),
                         mend="Export --to merged and serve that")
    highest = max([config["r"], *config.get("rank_pattern", {}).values()])
    for rank in _RANKS:
        if highest <= rank:
            return rank
    raise ModelError(f"vLLM serves ranks up to {_RANKS[-1]}, and this adapter has {highest}",
                     where=str(adapter), mend="Export --to merged and serve that")


def command(source: Source, rank: int | None) -> str:
    """What to type: the base with the adapter beside it, or the model that trained whole.

    Args:
        rank: as `served_rank` gives it; None for a whole model.
    """
    base = _reachable(source.whole)
    words = ["vllm", "serve", base, "--dtype", source.whole.dtype]
    if source.whole.revision:
        words += ["--revision", source.whole.revision]
    if source.adapter is not None and rank is not None:
        name = source.run.name
        words += ["--enable-lora", "--lora-modules", f"{name}={source.adapter.resolve()}",
                  "--max-lora-rank", str(rank)]
    return shlex.join(words)


def _reachable(settings: ModelSettings) -> str:
    """A folder's full path, or the hub id."""
    from phi3kit.models.bases import resolve_base

    base, _ = resolve_base(settings.name, settings.revision)
    return str(base.resolve()) if isinstance(base, Path) else base
