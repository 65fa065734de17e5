"""Hashes of weights, remembered: gigabytes take longer to hash than all the rest of a start."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from phi3kit.files import sha256_bytes, sha256_file, write_json
from phi3kit.models.packaged import cache_folder


def remembered_sha256(path: Path) -> str:
    """The file's SHA-256, remembered for as long as its size and time stay the same."""
    stat = path.stat()
    full = str(path.resolve())
    state = {"path": full, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    memo = cache_folder() / "hashes" / f"{sha256_bytes(full.encode())[:32]}.json"
    try:
        known = json.loads(memo.read_text(encoding="utf-8"))
        if {k: known[k] for k in state} == state:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no memo, or a damaged one: it is written anew
    digest = sha256_file(path)
    # A cache that cannot be written costs time, not correctness.
    with contextlib.suppress(OSError):
        write_json(memo, {**state, "sha256": digest})
    return digest
