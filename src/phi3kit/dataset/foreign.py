"""Files and folders of examples that other software reads: told by what they are."""

from __future__ import annotations

from pathlib import Path

from phi3kit.errors import DataError

# By the first bytes, and by the suffix where those are not there to tell.
_MAGIC = {b"PAR1": "parquet", b"ARROW1": "arrow", b"\xff\xff\xff\xff": "arrow",
          b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zst",
          b"PK\x03\x04": "zip"}
_SHEETS = (".xlsx", ".xls", ".ods")


def refuse_foreign(path: Path) -> None:
    """Refuse a folder, and a file of bytes, with the way to bring its examples over.

    Raises:
        DataError: it is one of these.
        OSError: it cannot be read.
    """
    if path.is_dir():
        raise DataError("is a folder", where=str(path), mend=(
            "Name a file in it; for a saved dataset, write one with "
            f"datasets.load_from_disk('{path}')['train'].to_json('train.jsonl')"))
    with path.open("rb") as file:
        start = file.read(6)
    kind = next((name for magic, name in _MAGIC.items() if start.startswith(magic)),
                path.suffix.lower().removeprefix("."))
    told = f"'{path.suffix}' is no format of examples"
    if kind in ("parquet", "arrow"):
        raise DataError(told if path.suffix.lower() == f".{kind}" else f"holds {kind}",
                        where=str(path), mend=(
            f"Write it as JSON Lines: datasets.load_dataset('{kind}', data_files='{path}', "
            "split='train').to_json('train.jsonl')"))
    if path.suffix.lower() in _SHEETS:
        raise DataError(told, where=str(path), mend="Save the sheet as CSV, in UTF-8")
    if kind in _MAGIC.values():
        raise DataError(f"is compressed ({kind})", where=str(path), mend=(
            "Unpack it first, and name the .jsonl, .json or .csv file"))
