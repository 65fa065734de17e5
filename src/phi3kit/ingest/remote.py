"""Texts to vectors by a provider's API: OpenAI, Azure OpenAI, Jina, or a compatible server.

Nothing is sent anywhere unless the user names such an embedder; its key is read from the
environment, and kept nowhere.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi3kit.errors import ModelError
from phi3kit.files import sha256_bytes
from phi3kit.models.server_errors import Mends, explain
from phi3kit.models.server_url import KEY, checked_url, same_server
from phi3kit.progress import Advance

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

# Limits of OpenAI's API are 2,048 texts and 300,000 tokens per request; others allow less.
_TEXTS = 256
_TOKENS = 60_000
_WINDOW = 8191
# The client waits twice as long after each failure, or as long as the server says.
_RETRIES = 8
_TIMEOUT = 120.0
_AZURE_VERSION = "2024-10-21"
_WHERE = "ingest.embedder"
_OLLAMA = "http://localhost:11434/v1#"

# US dollars per million tokens: the provider's list price when the model came out (January
# 2024). A hint of what is about to be spent, not a bill.
_PRICES = {"text-embedding-3-small": 0.02, "text-embedding-3-large": 0.13}


@dataclass(frozen=True, slots=True)
class Provider:
    """Where texts are sent.

    Attributes:
        prefix: what the embedder's name begins with.
        url: the API's base; "" where the environment or the name tells it.
        key: the environment variable that holds the key.
    """

    prefix: str
    url: str
    key: str


PROVIDERS = (Provider("openai:", "https://api.openai.com/v1", "OPENAI_API_KEY"),
             Provider("azure:", "", "AZURE_OPENAI_API_KEY"),
             Provider("jina:", "https://api.jina.ai/v1", "JINA_API_KEY"),
             Provider("http://", "", KEY),
             Provider("https://", "", KEY))


def provider_of(name: str) -> Provider | None:
    """The provider that an embedder's name means; None for a local model."""
    return next((p for p in PROVIDERS if name.startswith(p.prefix)), None)


def refuse_unknown(name: str) -> None:
    """Refuse what looks like a provider's model and is none, before it is looked for elsewhere.

    Raises:
        ModelError: with the way to write it.
    """
    prefix, colon, model = name.partition(":")
    if not colon or len(prefix) < 2:  # not a drive of Windows
        return
    known = next((p.prefix for p in PROVIDERS if name.lower().startswith(p.prefix)), None)
    if known is not None:
        mend = f"Write {known}{name[len(known):]}" if "@" not in name else (
            f"Write {known} in small letters")
    elif prefix.lower() == "ollama":
        mend = f"Write {_OLLAMA}{model or 'MODEL'}"
    else:
        mend = "Write openai:MODEL, azure:DEPLOYMENT, jina:MODEL or URL#MODEL"
    raise ModelError(f"there is no provider '{prefix}'", where=_WHERE, mend=mend)


class RemoteEmbedder:
    """An embedding model behind an API.

    Args:
        name: "openai:MODEL", "azure:DEPLOYMENT", "jina:MODEL" or "URL#MODEL", for example
            "http://localhost:11434/v1#nomic-embed-text".
        requests_per_minute: at most so many; None: no limit.

    Attributes:
        fingerprint: of the provider and the model's name: weights behind an API are not
            seen, so a model that changes under its name is not noticed.
        window: OpenAI's. Chunks are far shorter.

    Raises:
        ModelError: no model is named, or the key is missing.
    """

    window = _WINDOW

    def __init__(self, name: str, *, requests_per_minute: int | None = None) -> None:
        self._apart = 60 / requests_per_minute if requests_per_minute else 0.0
        self._next = 0.0  # when the next request may begin
        provider = provider_of(name)
        assert provider is not None
        self.name = name
        self._provider = provider
        if provider.prefix.startswith("http"):
            url, _, self._model = name.partition("#")
            self._url = checked_url(url, where=_WHERE, example=f"{_OLLAMA}nomic-embed-text")
        elif provider.prefix == "azure:":
            url, self._model = os.environ.get("AZURE_OPENAI_ENDPOINT", ""), name[6:]
            self._url = checked_url(url, where="AZURE_OPENAI_ENDPOINT", example=(
                "https://mine.openai.azure.com")) if url else ""
        else:
            self._url, self._model = provider.url, name.removeprefix(provider.prefix)
        if not self._model:
            raise ModelError(f"'{name}' names no model", where=_WHERE,
                             mend="Write for example openai:text-embedding-3-small, or "
                                  f"{_OLLAMA}nomic-embed-text")
        if provider.prefix == "azure:" and not self._url:
            raise ModelError("the Azure resource is not named", where=_WHERE,
                             mend="Set AZURE_OPENAI_ENDPOINT in the environment")
        self._key = os.environ.get(provider.key, "")
        if not self._key and not provider.prefix.startswith("http"):
            raise ModelError("there is no key for this embedder", where=name,
                             mend=f"Set {provider.key} in the environment")
        self.fingerprint = "api:" + sha256_bytes(
            f"{same_server(self._url)}\n{self._model}".encode())

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """The packaged embedder's: the provider's own is not at hand.

        Chunks are cut by it, and requests filled. Both stay far from the provider's limits,
        so that what it counts differently does no harm.
        """
        from phi3kit.ingest.embed import PACKAGED, open_embedder

        return open_embedder(PACKAGED).tokenizer

    @functools.cached_property
    def dimension(self) -> int:
        """Length of a vector, as the API answers."""
        return len(self._request(["dimension"])[0])

    def estimate(self, tokens: int) -> str:
        """What embedding about so many tokens takes, in words; said before the first call."""
        price = _PRICES.get(self._model)
        cost = f", about ${tokens / 1e6 * price:.2f} at the list price of 2024" if price else ""
        # Counted by the packaged embedder's tokenizer: the provider's counts a little otherwise.
        return f"about {tokens:,} tokens go to {self._url}{cost}"

    def release(self) -> None:
        """Nothing: the weights are the provider's."""

    def encode(self, texts: Sequence[str], *, advance: Advance | None = None) -> np.ndarray:
        """Vectors of `texts`: float32 [len(texts), dimension], each of length 1.

        Args:
            advance: called with the number of texts after each request.

        Raises:
            ModelError: the provider refuses, cannot be reached, or answers with nonsense.
        """
        import numpy as np

        found: list[list[float]] = []
        for batch in _batches([len(e.ids) for e in self.tokenizer.encode_batch(list(texts))]):
            found += self._request([texts[at] for at in batch])
            if advance is not None:
                advance(len(batch))
        if not found:
            return np.empty((0, self.dimension), dtype=np.float32)
        try:
            vectors: np.ndarray = np.asarray(found, dtype=np.float32)
        except ValueError as error:
            raise self._nonsense("vectors of different lengths") from error
        if not np.isfinite(vectors).all():
            raise self._nonsense("numbers that are none")
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
        return vectors

    def _request(self, texts: list[str]) -> list[list[float]]:
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._next = time.monotonic() + self._apart
        try:
            answer = self._client.embeddings.create(model=self._model, input=texts,
                                                    encoding_format="float")
            items = sorted(answer.data, key=lambda item: item.index)
            vectors = [list(item.embedding) for item in items]
            if [item.index for item in items] != list(range(len(texts))) or not all(vectors):
                raise self._nonsense(f"{len(vectors)} vectors for {len(texts)} texts")
            return vectors
        except (AttributeError, TypeError, ValueError) as error:
            raise self._nonsense("no embeddings") from error
        except ModelError:
            raise
        except Exception as error:  # the client's own, and those of its transport library
            raise self._error(error) from error

    @functools.cached_property
    def _client(self) -> Any:
        from openai import AzureOpenAI, OpenAI

        if self._provider.prefix == "azure:":
            return AzureOpenAI(azure_endpoint=self._url, api_key=self._key,
                               api_version=_AZURE_VERSION, max_retries=_RETRIES,
                               timeout=_TIMEOUT)
        return OpenAI(base_url=self._url, api_key=self._key or "none",
                      max_retries=_RETRIES, timeout=_TIMEOUT)

    def _nonsense(self, what: str) -> ModelError:
        return ModelError(f"the server answers with {what}", where=self.name,
                          mend="Check that the URL is that of an embeddings API")

    def _error(self, error: Exception) -> ModelError:
        again = "What is embedded stays; run the same command again"
        return explain(error, model=self._model, where=self.name, mends=Mends(
            key=f"Correct {self._provider.key} in the environment",
            model="Correct ingest.embedder", unreachable=again, slow=again, otherwise=again),
            seconds=_TIMEOUT)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices in order, in requests of at most `_TEXTS` texts and `_TOKENS` tokens."""
    batch: list[int] = []
    tokens = 0
    for at, length in enumerate(lengths):
        if batch and (len(batch) == _TEXTS or tokens + length > _TOKENS):
            yield batch
            batch, tokens = [], 0
        batch.append(at)
        tokens += length
    if batch:
        yield batch
