"""GPUs by name: memory and speed, from their maker's data sheets.

Memory, dense 16-bit tensor arithmetic and memory bandwidth stand in NVIDIA's own documents: the
data sheets of Tesla T4, V100, A10, L4, L40S, A100, RTX A6000, H100 and H200 (figures that are given
with sparsity halved; `BOARDS` has the PCIe ones where they differ from SXM), and for GeForce cards
the architecture whitepapers of GA102 (2020) and AD102 (2022) and the cards' specification pages.
GeForce cards add up at half the rate of the data centre's when sums are kept in 32 bits, as
training keeps them: theirs is that rate.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from phi3kit.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Gpu:
    """A card.

    Attributes:
        memory_gb: as it is sold.
        tflops: dense bfloat16 tensor arithmetic with 32-bit sums, in 10^12 operations per
            second, a product and a sum being two; float16 on T4 and V100, which have no
            bfloat16. The peak that no training reaches.
        bandwidth_gb: of its memory, in GB per second.
    """

    name: str
    memory_gb: int
    tflops: float
    bandwidth_gb: float


GPUS: tuple[Gpu, ...] = (
    Gpu("RTX 4060", 8, 30.2, 272), Gpu("RTX 3060", 12, 25.5, 360), Gpu("T4", 16, 65.0, 320),
    Gpu("RTX 4060 Ti", 16, 44.1, 288), Gpu("RTX 3090", 24, 71.0, 936),
    Gpu("RTX 4090", 24, 165.2, 1008), Gpu("A10", 24, 125.0, 600), Gpu("L4", 24, 121.0, 300),
    Gpu("V100", 32, 125.0, 900), Gpu("A100 40GB", 40, 312.0, 1555),
    Gpu("A6000", 48, 154.8, 768), Gpu("L40S", 48, 362.0, 864), Gpu("A100", 80, 312.0, 2039),
    Gpu("H100", 80, 989.5, 3350), Gpu("H200", 141, 989.5, 4800),
)
# The same chips on other boards. They are found by name, but `of_memory` draws from one board of
# each, so that a size of memory stands for the same cards however many boards there are.
BOARDS: tuple[Gpu, ...] = (
    Gpu("V100 16GB", 16, 125.0, 900), Gpu("V100 PCIe", 32, 112.0, 900),
    Gpu("V100 PCIe 16GB", 16, 112.0, 900), Gpu("A100 PCIe", 80, 312.0, 1935),
    Gpu("A100 PCIe 40GB", 40, 312.0, 1555), Gpu("H100 PCIe", 80, 756.5, 2000),
    Gpu("H100 NVL", 94, 835.5, 3938), Gpu("H200 NVL", 141, 835.5, 4800),
)


def find_gpu(name: str) -> Gpu:
    """The card called `name`, however it is spelled: "rtx-4090", "NVIDIA RTX 4090", "4090".

    Of the cards in the table, what their driver calls them is among the spellings: "NVIDIA
    A100-PCIE-40GB", "NVIDIA A100 80GB PCIe", "NVIDIA H100 80GB HBM3".

    Raises:
        SettingsError: no such card; names the nearest.
    """
    wanted = _plain(name)
    known = (*GPUS, *BOARDS)
    for gpu in known:
        if wanted in (_plain(f"{gpu.name}{memory}")
                      for memory in ("", gpu.memory_gb, f"{gpu.memory_gb}gb")):
            return gpu
    names = {_plain(gpu.name): gpu.name for gpu in known}
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
    raise SettingsError(f"no figures for the GPU '{name}'", where="--gpu",
                        mend=(f"Did you mean '{names[near[0]]}'? " if near else "")
                        + f"There are {', '.join(names.values())}; any other by --gpu-memory")


def of_memory(memory_gb: float) -> tuple[Gpu, ...]:
    """The cards with the largest memory that is not above `memory_gb`; the smallest if none."""
    held = [gpu.memory_gb for gpu in GPUS if gpu.memory_gb <= memory_gb]
    size = max(held) if held else min(gpu.memory_gb for gpu in GPUS)
    return tuple(gpu for gpu in GPUS if gpu.memory_gb == size)


def _plain(name: str) -> str:
    """Letters and digits alone, without what every card of a maker is called; the board last."""
    plain = re.sub(r"nvidia|tesla|geforce|rtx|sxm\d?|hbm\d?e?|[^a-z0-9]", "", name.casefold())
    board = next((board for board in ("pcie", "nvl") if board in plain), "")
    return plain.replace(board, "") + board
