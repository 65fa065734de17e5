"""What the folders hold now and what the collection held of them: which documents differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from phi3kit.errors import StoreError
from phi3kit.files import sha256_file
from phi3kit.ingest.manifest import FileState
from phi3kit.ingest.walk import Found
from phi3kit.progress import bar

# Seconds: reading that takes no longer is not told in a log, where --watch would fill it so.
_PATIENCE = 2.0


@dataclass(frozen=True)
class Difference:
    """Documents by what is to be done about them.

    Attributes:
        found: what the paths hold.
        prune: documents that are gone from there are to go.
        named: whether documents are called by where they lie, which an earlier run may have
            called otherwise.
        fail: told of a document that cannot be used, and why.
    """

    found: Found
    prune: bool
    named: bool
    fail: Callable[[str, str], None]

    def hashes(self) -> dict[str, str]:
        """Source to hash of the file's bytes, of every file that can be read."""
        hashes = {}
        with bar("reading", len(self.found.files), patience=_PATIENCE) as advance:
            for source, path in self.found.files.items():
                try:
                    hashes[source] = sha256_file(path)
                except OSError as error:
                    self.fail(source, (error.strerror or str(error)).lower())
                advance(1)
        return hashes

    @staticmethod
    def to_read(hashes: Mapping[str, str], held: Mapping[str, FileState]) -> list[str]:
        """Sources that are new, or changed, or had problems when they were read."""
        return [source for source, sha256 in hashes.items()
                if (state := held.get(source)) is None or state.sha256 != sha256
                or state.problems]

    def gone(self, hashes: Mapping[str, str], held: Iterable[str]) -> list[str]:
        """Sources that the collection holds and the paths no longer do, if they are to go."""
        held = set(held)
        for source in self.found.gone:
            if source not in held:
                inside = sum(self.found.under(other, source) for other in held)
                # It may be a disk that is not there today.
                self.fail(source, "no such file or folder" + (
                    f"; the {inside} documents that the collection holds of it stay. To take "
                    "them out, put an empty folder in its place" if inside else ""))
        return sorted(source for source in held if source not in hashes
                      and ((self.prune and self._is_gone(source))
                           or (self.named and self.found.name_of(source) in hashes)))

    def refuse_loss(self, before: Iterable[str], where: str) -> None:
        """Refuse a rebuild that would lose what it does not find.

        Args:
            before: sources of the collection that is to be replaced.
            where: that collection.

        Raises:
            StoreError: some are not to be found, and are not to go either.
        """
        lost = sorted(source for source in before
                      if self.found.name_of(source) not in self.found.files
                      and not (self.prune and self._is_gone(source)))
        if lost:
            raise StoreError(
                f"it also holds {len(lost)} documents that the given paths do not, such as "
                f"'{lost[0]}'", where=where, mend=self._mend_for(lost[0]))

    def _mend_for(self, lost: str) -> str:
        """What to do about a document that a rebuild would lose."""
        found = self.found
        if self._is_gone(lost):
            return "Leave out --no-prune (or ingest.prune: false), for it is gone from there"
        for name in (*found.gone, *found.kept):
            if found.under(lost, name):
                return (f"Bring '{name}' back, or put an empty folder in its place"
                        if name in found.gone else f"See to it that '{name}' can be read")
        return "Give their paths too, or build another --collection"

    def _is_gone(self, source: str) -> bool:
        found = self.found
        return (found.name_of(source) not in found.files
                and (found.covers(source) or source in found.gone))
