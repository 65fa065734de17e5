"""One family of errors: what is wrong, where, and how to mend it.

Whatever a user can cause is raised as a `Phi3kitError`; the command line prints it as one
line and exits with its `exit_code`. Any other exception is a defect of ours and keeps its
traceback.
"""

from __future__ import annotations

from typing import ClassVar


class Phi3kitError(Exception):
    """A mistake that the user can mend.

    Args:
        what: what is wrong, without a full stop.
        where: the file, line or field, in the user's terms.
        mend: what to do about it, as an imperative sentence without a full stop.

    Attributes:
        exit_code: of the command line: 1, or 2 where it was used wrongly.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str | None = None, mend: str | None = None) -> None:
        self.what = what
        self.where = where
        self.mend = mend
        super().__init__(str(self))

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        if self.mend:
            line = f"{line}. {self.mend}"
        return " ".join(line.split())


class SettingsError(Phi3kitError):
    """A key or a value of phi3kit.yaml or of a flag that cannot be used."""

    exit_code = 2


class DataError(Phi3kitError):
    """A document, example, question or scenario that cannot be read or used."""


class ModelError(Phi3kitError):
    """A model, embedder or adapter that cannot be found, loaded or combined."""


class OutOfMemoryError(ModelError, MemoryError):
    """What a model was to do takes more memory than there is, on its card or on the host."""


class StoreError(Phi3kitError):
    """A collection that is missing, locked, or was built with something else."""


class RunError(Phi3kitError):
    """A run folder that is missing, incomplete or belongs to other settings."""


def first_line(error: BaseException) -> str:
    """The first line of what a library says, at most 200 characters; its type if it says nothing.

    To be put into a message of ours: the rest is seldom for users.
    """
    return (next(iter(str(error).strip().splitlines()), "") or type(error).__name__)[:200]
