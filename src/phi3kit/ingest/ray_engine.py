"""Read, cut and embed as one Ray Data pipeline, on this machine or on a cluster.

    files ─ Read (many) ─ Ledger (one) ─ Embed (one a GPU, else one a machine) ─▶ the writer

The ledger names the texts that nobody has embedded yet. It is a single actor and the order of
the files is kept, so a text's vector never arrives after the text. All stages hold a bounded
number of files: Ray stops those upstream while the writer is behind.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import os
import pickle
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from phi3kit.errors import ModelError, Phi3kitError, SettingsError, StoreError
from phi3kit.files import expanded
from phi3kit.ingest import chunking
from phi3kit.ingest.batch import File
from phi3kit.ingest.embed import Embedder, open_embedder
from phi3kit.ingest.engine import Files, cut
from phi3kit.ingest.remote import RemoteEmbedder
from phi3kit.ingest.rows import above, identity
from phi3kit.ingest.workers import Readers
from phi3kit.records import Failure
from phi3kit.settings import Settings

# Files that travel together: enough texts for full batches, few enough for many readers.
_TOGETHER = 16
# A batch as Ray hands it to a stage: columns of equal length.
Batch: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How every actor opens the embedder; its files must be the same on all machines.

    Attributes:
        threads: OMP_NUM_THREADS of the user, if set.
    """

    embedder: str
    fingerprint: str
    device: str
    precision: str
    chunk_tokens: int
    threads: str | None

    def open(self) -> Embedder:
        """The embedder.

        Raises:
            ModelError: it is missing on this machine, or another one.
        """
        opened = open_embedder(self.embedder, device=self.device, precision=self.precision)
        if opened.fingerprint != self.fingerprint:
            raise ModelError(f"it is another model on machine {os.uname().nodename}",
                             where=self.embedder, mend="Install the same one on all of them")
        return opened


class RayEngine:
    """A local Ray, or the cluster that RAY_ADDRESS names.

    Raises:
        SettingsError: Ray is not installed, or the embedder is a provider's.
    """

    def __init__(self, settings: Settings, embedder: Embedder) -> None:
        if isinstance(embedder, RemoteEmbedder):
            raise SettingsError(
                f"'{embedder.name}' embeds at its provider, whose limits count all machines "
                "together", where="ingest.engine", mend="Set it to local")
        if importlib.util.find_spec("ray") is None:
            raise SettingsError("Ray is not installed", where="ingest.engine",
                                mend="pip install 'phi3kit[ray]', or set it to local")
        name, folder = settings.ingest.embedder, expanded(settings.ingest.embedder)
        self._recipe = Recipe(
            str(folder.absolute()) if folder.is_dir() else name, embedder.fingerprint,
            settings.model.device, settings.ingest.precision, settings.ingest.chunk_tokens,
            os.environ.get("OMP_NUM_THREADS"))
        self._embedder = embedder

    def files(self, paths: Mapping[str, Path], held: Iterable[str]) -> Files:
        """See `Engine.files`.

        Raises:
            SettingsError: also, the cluster cannot be reached.
            ModelError: a machine does not have the embedder.
            StoreError: Ray gave up.
        """
        # Here, where the mistake costs no start of a cluster.
        chunking.Chunker(self._embedder.tokenizer, self._embedder.window,
                         self._recipe.chunk_tokens)
        with _cluster(), _explained():
            for row in _pipeline(paths, held, self._recipe).iter_rows():
                yield pickle.loads(row["file"])


class Read:
    """Stage: the files of a batch, read within the limits of `workers` and cut."""

    def __init__(self, recipe: Recipe) -> None:
        embedder = recipe.open()
        self._chunker = chunking.Chunker(embedder.tokenizer, embedder.window, recipe.chunk_tokens)
        self._readers = Readers()  # its worker ends when this process does

    def __call__(self, batch: Batch) -> Batch:
        """Columns source, path → file."""
        paths = {source: Path(os.fsdecode(path)) for source, path
                 in zip(batch["source"], batch["path"], strict=True)}
        return {"file": [pickle.dumps(file) for file in cut(paths, self._readers, self._chunker)]}


class Ledger:
    """Stage: which texts of each file have no vector yet; a single actor, so each is named once.

    Args:
        held: IDs of the texts that the collection has, 16 bytes each.
    """

    def __init__(self, held: bytes) -> None:
        self._known = {held[at:at + 16] for at in range(0, len(held), 16)}

    def __call__(self, batch: Batch) -> Batch:
        """Columns file → file, new: the IDs."""
        new = []
        for packed in batch["file"]:
            file = pickle.loads(packed)
            ids = [] if isinstance(file, Failure) else list(
                dict.fromkeys(identity(chunk) for chunk in file.chunks))
            fresh = [id_ for id_ in ids if bytes.fromhex(id_) not in self._known]
            self._known.update(bytes.fromhex(id_) for id_ in fresh)
            new.append(pickle.dumps(fresh))
        return {"file": list(batch["file"]), "new": new}


class Embed:
    """Stage: the vectors of what is new. The model is loaded once an actor."""

    def __init__(self, recipe: Recipe) -> None:
        if recipe.threads is None:  # Ray says 1; this actor has a machine, and torch may use it
            os.environ.pop("OMP_NUM_THREADS", None)
        self._embedder = recipe.open()

    def __call__(self, batch: Batch) -> Batch:
        """Columns file, new → file with vectors."""
        files = [pickle.loads(packed) for packed in batch["file"]]
        texts: dict[str, str] = {}
        for file, packed in zip(files, batch["new"], strict=True):
            new = set(pickle.loads(packed))
            texts |= {id_: above(chunk) + chunk.text for chunk in getattr(file, "chunks", ())
                      if (id_ := identity(chunk)) in new}
        vectors = (dict(zip(texts, self._embedder.encode(list(texts.values())), strict=True))
                   if texts else {})
        return {"file": [pickle.dumps(_with(file, pickle.loads(packed), vectors))
                         for file, packed in zip(files, batch["new"], strict=True)]}


def _with(file: File | Failure, new: Iterable[str], vectors: Mapping[str, Any]) -> File | Failure:
    if isinstance(file, Failure):
        return file
    return replace(file, vectors={id_: vectors[id_] for id_ in new})


def _pipeline(paths: Mapping[str, Path], held: Iterable[str], recipe: Recipe) -> Any:
    """The dataset of packed files, which runs as it is read."""
    import ray

    has = ray.cluster_resources()
    readers = max(1, int(has.get("CPU", 1)) - 1)
    gpus = int(has.get("GPU", 0)) if recipe.device in ("auto", "cuda") else 0
    machines = sum(node["Alive"] and node["Resources"].get("CPU", 0) > 0 for node in ray.nodes())
    blocks = max(math.ceil(len(paths) / _TOGETHER), min(len(paths), 4 * readers))
    pool = ray.data.ActorPoolStrategy
    files = ray.data.from_items(
        [{"source": source, "path": os.fsencode(path.absolute())}
         for source, path in paths.items()], override_num_blocks=blocks)
    return files.map_batches(
        Read, fn_constructor_args=(recipe,), batch_size=None, num_cpus=0.5,
        compute=pool(min_size=1, max_size=readers),
    ).map_batches(
        Ledger, fn_constructor_args=(b"".join(map(bytes.fromhex, held)),), batch_size=None,
        num_cpus=0, compute=pool(size=1),
    ).map_batches(
        Embed, fn_constructor_args=(recipe,), batch_size=None,
        compute=pool(size=gpus or max(1, machines)), num_gpus=1 if gpus else None,
        num_cpus=None if gpus else 0.5)


@contextlib.contextmanager
def _cluster() -> Iterator[None]:
    """Ray, started and stopped here unless the process has it already."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    ours = not ray.is_initialized()
    try:
        if ours:
            _start()
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        yield
    finally:
        if ours:
            ray.shutdown()


def _start() -> None:
    import ray

    address = os.environ.get("RAY_ADDRESS") or "local"
    local: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        with _silent():
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **local)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise SettingsError(f"Ray cannot be reached ({first[:200]})",
                            where=f"RAY_ADDRESS={address}",
                            mend="Start the cluster; set RAY_AUTH_MODE=token if it asks for its "
                                 "token; or unset it for a Ray on this machine") from error


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Ray's C++ part tells stderr that it was told to be silent."""
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """An actor's mistake of ours is raised as itself; what Ray does becomes one line."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, Phi3kitError):
            cause = getattr(cause, "cause", None) or cause.__cause__
        if isinstance(cause, Phi3kitError):
            raise cause from error
        last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise StoreError(f"it is not complete, for Ray stopped ({last[0][:200]})",
                         mend="Run phi3kit ingest again: it goes on from here") from error
