"""A folder that is there whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from phi3kit.errors import DataError
from phi3kit.files import flush, flush_tree


def refuse_existing(out: Path) -> None:
    """Stop before anything is loaded when the target is there.

    Raises:
        DataError: names it.
    """
    if out.exists():
        raise DataError("is there already", where=str(out),
                        mend="Remove it, or write elsewhere with --out")


def refuse_unwritable(out: Path) -> None:
    """Stop before anything is loaded when the target is there, or cannot be made.

    Raises:
        DataError: names it.
    """
    try:
        refuse_existing(out)
        above = next(parent for parent in out.absolute().parents if parent.exists())
    except OSError as error:
        raise DataError(f"no folder can have this name ({error.strerror})", where=str(out)[:200],
                        mend="Give another --out") from error
    if not above.is_dir():
        raise DataError(f"{above} is a file, and no folder can be made in it", where=str(out),
                        mend="Give another --out")
    if not os.access(above, os.W_OK):
        raise DataError(f"{above} cannot be written to", where=str(out),
                        mend="Give another --out, or the right to write there")


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Yields an empty folder beside `out`, which becomes `out` if all goes well.

    Everything in it is on the disk before it gets its name. After an error nothing is left.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        yield folder
        refuse_existing(out)  # another process may have been faster
        for path in (folder, *folder.rglob("*")):
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))
        flush_tree(folder)
        folder.rename(out)
        flush(out.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
