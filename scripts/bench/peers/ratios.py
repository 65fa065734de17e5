"""What the bench's figures come to, each beside its aim."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

NAMES = ("langchain", "llamaindex")
INT8 = "phi3kit, int8"

# What it says, the ratio, its aim, and whether the aim is the least (else the most).
Row = tuple[str, float, float, bool]


def ratios(bench: Any) -> dict[str, dict[str, Any]]:
    """Ratio by what it says, with its aim; `at_least` tells which side of the aim is right."""
    rows = [row for part, found in PARTS.items() if part in bench.done for row in found(bench)]
    return {name: {"ratio": round(ratio, 4 if "cosine" in name else 2), "aim": aim,
                   "at_least": at_least,
                   "held": ratio >= aim if at_least else ratio <= aim}
            for name, ratio, aim, at_least in rows}


def throughput_ratios(bench: Any) -> Iterator[Row]:
    rate = bench.found["chunks_per_second"]
    for name in NAMES if bench.peers else ():
        yield f"chunks per second, phi3kit to {name}", rate["phi3kit"] / rate[name], 3.3, True
        yield (f"time for the corpus, {name} to phi3kit",
               bench.median(f"end to end, {name}") / bench.median("end to end, phi3kit"), 3.3,
               True)
        if INT8 in rate:
            yield f"chunks per second, int8 to {name}", rate[INT8] / rate[name], 5.5, True
    yield ("end to end to the encoder alone", rate["phi3kit"] / rate["encoder alone"], 0.9, True)
    if "cosine_least" in bench.found:
        yield "least cosine to float32", bench.found["cosine_least"], 0.999, True


def process_ratios(bench: Any) -> Iterator[Row]:
    for name in NAMES if bench.peers else ():
        for turn, aim in (("first", 5.0), ("second", 15.0)):
            yield (f"whole process, {turn} run, {name} to phi3kit",
                   bench.median(f"{turn} run, {name}") / bench.median(f"{turn} run, phi3kit"),
                   aim, True)


def unchanged_ratios(bench: Any) -> Iterator[Row]:
    at = bench.median
    yield ("unchanged corpus to --help plus hashing",
           at("unchanged") / (at("--help") + at("hashing")), 1.5, False)
    yield ("one file changed to that file alone",
           at("one file changed") / at("that file alone"), 2.0, False)


def memory_ratios(bench: Any) -> Iterator[Row]:
    first, grown = bench.found["peak_memory_bytes"].items()
    yield f"peak memory, {grown[0]} to {first[0]}", grown[1] / first[1], 1.2, False


def query_ratios(bench: Any) -> Iterator[Row]:
    """Hybrid, the default of `ask`, is held to the same aim, though Chroma looks for no words."""
    for size, row in bench.found["queries"].items():
        for ours, theirs in (("dense", "chroma"), ("dense_embedded", "chroma_embedded"),
                             ("hybrid", "chroma"), ("hybrid_embedded", "chroma_embedded")):
            for quantile in ("p50", "p95"):
                yield (f"query, {int(size):,} chunks, {ours.replace('_', ', ')}, {quantile}, "
                       "to Chroma's own", row[ours][quantile] / row[theirs][quantile], 1.3, False)


# The bench's parts, in order.
PARTS = {"throughput": throughput_ratios, "process": process_ratios,
         "unchanged": unchanged_ratios, "memory": memory_ratios, "queries": query_ratios}
