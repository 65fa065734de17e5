"""Names of files, writing that is whole or absent, and hashing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from phi3kit.errors import DataError


def expanded(name: str | Path) -> Path:
    """`name` with a home folder in the place of a leading `~` or `~user`, as shells do it.

    Where it begins with nobody's home it is a name like any other, and stays: Word keeps
    `~$report.docx` beside an open report.docx. `Path.expanduser` raises there.
    """
    return Path(os.path.expanduser(name))  # noqa: PTH111


def composed(text: str) -> str:
    """`text` as it is compared with what was typed: "ü" as one character.

    The names of a Mac's files have a letter and a mark. Both look alike and are different texts.
    """
    return unicodedata.normalize("NFC", text)


def write_atomic(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path` so that a reader sees the old file or the new one.

    The text is flushed to disk in a neighbouring temporary file and renamed over `path`.
    """
    beside = _written_beside(path, text)
    try:
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _written_beside(path: Path, text: str) -> Path:
    """A temporary file with `text` in the folder of `path`, on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(name, 0o644)  # noqa: PTH101 - mkstemp gives 0600, results are for the team
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def write_together(texts: Mapping[Path, str], *, instead_of: Iterable[Path], mend: str) -> None:
    """Write several files that belong together in place of older ones.

    All are on the disk under temporary names before the first older one goes: a full disk leaves
    what was there. The last of `texts` gets its name last, and its older one goes first: where
    it stands, they are whole.

    Args:
        texts: what each file holds.
        instead_of: older files; those that `texts` does not name are removed.
        mend: what to do where one cannot be written.

    Raises:
        DataError: as `write_named`.
    """
    beside: dict[Path, Path] = {}
    older = [path for path in instead_of if path.exists()]
    last = list(texts)[-1]
    at = last
    try:
        for at in older:
            if at.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        for at, text in texts.items():
            beside[at] = _written_beside(at, text)
        for at in sorted({last, *older} - (texts.keys() - {last}), key=lambda path: path != last):
            at.unlink(missing_ok=True)
        for at, file in beside.items():
            file.replace(at)
    except OSError as error:
        raise DataError(f"cannot be written ({error.strerror or error})", where=str(at),
                        mend=mend) from error
    finally:
        for file in beside.values():
            file.unlink(missing_ok=True)


def refuse_input(out: Path, *inputs: Path | None) -> None:
    """Refuse to write over a file that is read; no --force is meant for that.

    Raises:
        DataError: `out` is one of `inputs`, perhaps by another name or a link.
    """
    for path in inputs:
        if path is not None and _same(out, path):
            raise DataError("is the file that is read, and would be lost", where=str(out),
                            mend="Choose another --out")


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there
        return one.resolve() == other.resolve()


def write_named(path: Path, text: str, *, mend: str) -> None:
    """`write_atomic` for a file that the user named or looks for.

    Args:
        path: where it goes.
        text: what it holds.
        mend: what to do where it cannot be written.

    Raises:
        DataError: a folder of that name, no right to write there, a full disk, ….
    """
    try:
        write_atomic(path, text)
    except OSError as error:
        raise DataError(f"cannot be written ({error.strerror or error})", where=str(path),
                        mend=mend) from error


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_atomic(path, json_text(value))


def json_text(value: Any) -> str:
    """`value` as indented JSON that ends in a line feed."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def flush(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_tree(folder: Path) -> None:
    """`flush` everything in a folder, and the folder."""
    for path in (*folder.rglob("*"), folder):
        flush(path)


def sha256_bytes(data: bytes) -> str:
    """The SHA-256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes as 64 hexadecimal digits, read in constant memory."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
