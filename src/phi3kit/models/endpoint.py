"""Answers from an OpenAI-compatible server: vLLM, Ollama, llama.cpp, or a provider by its URL."""

from __future__ import annotations

import functools
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from phi3kit.errors import ModelError, first_line
from phi3kit.models.generate import Generation, OnBatch
from phi3kit.models.server_answer import ServerAnswer
from phi3kit.models.server_errors import Mends, explain, is_slow
from phi3kit.models.server_url import KEY, checked_url
from phi3kit.models.thoughts import without_thoughts
from phi3kit.records import Message
from phi3kit.settings import ModelSettings

# Requests under way at once: servers batch what arrives together; small ones queue it.
_PARALLEL = 8
# The client waits longer after each failure, or as long as the server says.
_RETRIES = 5
_TIMEOUT = 300.0
# Without the model's tokenizer a prompt's length is guessed, rather too long than too short:
# English has four characters per token, code and other languages three.
_CHARACTERS_PER_TOKEN = 3
_TOKENS_PER_MESSAGE = 8

# What chat templates use as control tokens. The server's own tokenizer would take them for
# such, wherever they stand.
_CONTROL = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<(?:bos|eos|pad)>|"
    r"<｜[^｜<>]{1,40}｜>")
_BREAK = "\u200b"


class _SlowError(ModelError):
    """A prompt was not answered in time, which says little of the others."""


class EndpointGenerator:
    """A model behind a URL.

    Args:
        settings: its URL, and its name there.
        named_by: the settings or flags by which the user named both, for messages.

    Attributes:
        context: longest prompt and answer together, in tokens; `model.endpoint_context`.
    """

    def __init__(self, settings: ModelSettings, *,
                 named_by: tuple[str, str] = ("model.endpoint", "--model")) -> None:
        assert settings.endpoint is not None
        self._named_by = named_by
        self._url = checked_url(settings.endpoint, where=named_by[0])
        self._model = settings.name
        self.context = settings.endpoint_context

    @functools.cached_property
    def _client(self) -> Any:
        from openai import OpenAI

        return OpenAI(base_url=self._url, api_key=_key(self._url), max_retries=_RETRIES,
                      timeout=_TIMEOUT)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Length of the prompt in tokens, guessed from its characters; rather too long."""
        return sum(len(m["content"]) // _CHARACTERS_PER_TOKEN + _TOKENS_PER_MESSAGE
                   for m in messages)

    def generate(self, prompts: Sequence[Sequence[Message]], *, max_new_tokens: int,
                 batch_tokens: int, on_batch: OnBatch | None = None) -> list[Generation]:
        """Answer every prompt, several requests at a time; results in the order of the prompts.

        A prompt that the server refuses, does not answer in time, or spends all tokens on
        thoughts for, gets a `Generation` with `error`; 429, server errors and time that ran out
        are tried again first. Thoughts are no part of an answer. `batch_tokens` is the server's
        affair and not used.

        Raises:
            ModelError: the server cannot be reached, refuses the key or the model, or answers
                none of the first prompts in time.
        """
        results: dict[int, Generation] = {}
        late = 0
        requests = _Requests(functools.partial(self._answer, self._client, max_new_tokens), prompts)
        try:
            while len(results) < len(prompts):
                i, found = requests.next()
                if isinstance(found, _SlowError):
                    late += 1
                    if late == len(results) + 1 == _PARALLEL:
                        raise found  # none came of those that were asked at once: it hangs
                    found = self._late(prompts[i], found)
                elif isinstance(found, BaseException):
                    raise found
                results[i] = found
                if on_batch:
                    on_batch([i], [found])
        except BaseException:
            requests.stop()
            self._close()
            raise
        return [results[i] for i in range(len(prompts))]

    def _close(self) -> None:
        """Let go of the connections: what is asked for over them now fails and is not retried."""
        client = self.__dict__.pop("_client", None)
        if client is not None:
            client.close()

    def probe(self) -> None:
        """See by one short request whether the server is there and knows the key and the model.

        Raises:
            ModelError: as `generate`, but in a second or two.
        """
        try:
            self._client.with_options(max_retries=2).chat.completions.create(
                **self._request([{"role": "user", "content": "Say yes."}], 1))
        except _fatal() as error:
            raise self._error(error) from error
        except Exception:
            return  # what it makes of this request tells nothing about the others

    def stream(self, messages: Sequence[Message], *, max_new_tokens: int) -> Iterator[str]:
        """One answer in pieces, without thoughts. Closing the iterator early ends the request.

        Raises:
            ModelError: the server cannot be reached, refuses, breaks off, or ends before an
                answer begins.
        """
        answer, silent = ServerAnswer(), True
        try:
            # Somebody waits: a server that is not there is told in a second or two.
            with self._client.with_options(max_retries=2).chat.completions.create(
                    **self._request(messages, max_new_tokens), stream=True) as events:
                for piece in without_thoughts(
                        answer.take(event.choices[0], event.choices[0].delta)
                        for event in events if event.choices):
                    silent = silent and not piece.strip()
                    yield piece
            if not answer.begun:  # a page or an object of something else, with status 200
                raise _no_answer(self._url)
            if silent and (reason := answer.silence(max_new_tokens)):
                raise reason
        except ModelError:
            raise
        except Exception as error:  # the client's own, and those of its transport library
            raise self._error(error) from error

    def _answer(self, client: Any, max_new_tokens: int,
                messages: Sequence[Message]) -> Generation:
        started = time.perf_counter()
        try:
            found = client.chat.completions.create(**self._request(messages, max_new_tokens))
            choice, answer = found.choices[0], ServerAnswer()
            written = answer.take(choice, choice.message)
        except _fatal() as error:
            raised = self._error(error)
            if is_slow(error):
                raise _SlowError(raised.what, where=raised.where, mend=raised.mend) from error
            raise raised from error
        except (AttributeError, TypeError, IndexError):
            return Generation("", self.count_tokens(messages), 0,
                              time.perf_counter() - started, error=_no_answer(self._url).what)
        except Exception as error:
            return Generation("", self.count_tokens(messages), 0,
                              time.perf_counter() - started, error=first_line(error))
        used = found.usage
        text = "".join(without_thoughts([written])).strip()
        silence = None if text else answer.silence(max_new_tokens)
        return Generation(
            text, used.prompt_tokens if used else self.count_tokens(messages),
            used.completion_tokens if used else len(written) // _CHARACTERS_PER_TOKEN,
            time.perf_counter() - started, error=str(silence or ""))

    def _late(self, messages: Sequence[Message], error: ModelError) -> Generation:
        why = ModelError(error.what, mend=error.mend)  # the server is the same for all
        return Generation("", self.count_tokens(messages), 0, _TIMEOUT, error=str(why))

    def _request(self, messages: Sequence[Message], max_new_tokens: int) -> dict[str, Any]:
        # Newer models of OpenAI's own refuse the name that every other server understands.
        limit = "max_completion_tokens" if _is_openai(self._url) else "max_tokens"
        return {"model": self._model, "temperature": 0, "seed": 0, limit: max_new_tokens,
                "messages": [{"role": m["role"], "content": as_data(m["content"])}
                             for m in messages]}

    def _error(self, error: Exception) -> ModelError:
        name = f"{KEY} or OPENAI_API_KEY" if _is_openai(self._url) else KEY
        return explain(error, model=self._model, where=self._url, mends=Mends(
            key=f"Set {name} in the environment",
            model=f"Name with {self._named_by[1]} one that it serves, and end the URL with /v1 "
                  "if its API lies there",
            unreachable=f"Start it, or correct {self._named_by[0]}",
            slow="Take a smaller model there, or set ask.max_new_tokens lower"), seconds=_TIMEOUT)


class _Requests:
    """Asks for answers to prompts, several at a time.

    In threads that end with the process. Those of a ThreadPoolExecutor are waited for, by it and
    by the interpreter: after Ctrl-C for as long as a slow server takes, and it is asked again.
    """

    def __init__(self, answer: Callable[[Sequence[Message]], Generation],
                 prompts: Sequence[Sequence[Message]]) -> None:
        self._answer = answer
        self._left: queue.SimpleQueue[tuple[int, Sequence[Message]]] = queue.SimpleQueue()
        self._came: queue.SimpleQueue[tuple[int, Generation | BaseException]] = queue.SimpleQueue()
        self._stopped = threading.Event()
        for numbered in enumerate(prompts):
            self._left.put(numbered)
        for _ in range(min(_PARALLEL, len(prompts))):
            threading.Thread(target=self._work, name="phi3kit-request", daemon=True).start()

    def next(self) -> tuple[int, Generation | BaseException]:
        """The place of a prompt and its answer, or the error of asking for it, as it comes."""
        return self._came.get()

    def stop(self) -> None:
        """Ask for no others."""
        self._stopped.set()

    def _work(self) -> None:
        while not self._stopped.is_set():
            try:
                i, messages = self._left.get_nowait()
            except queue.Empty:
                return
            try:
                self._came.put((i, self._answer(messages)))
            except BaseException as error:
                self._came.put((i, error))


def _fatal() -> tuple[type[Exception], ...]:
    """Errors of the client after which the next prompt would fare no better."""
    import openai

    return (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError,
            openai.APIConnectionError)


def _no_answer(url: str) -> ModelError:
    return ModelError("the server answers with something that is no answer of a model",
                      where=url, mend="Check that the URL is that of an OpenAI-compatible API; "
                                      "most end with /v1")


def as_data(text: str) -> str:
    """`text` with every control token of the usual chat templates broken, as `chat` does it."""
    return _CONTROL.sub(lambda found: found[0][0] + _BREAK + found[0][1:], text)


def _key(url: str) -> str:
    """The key for a server. OpenAI's own key goes to OpenAI only."""
    named = os.environ.get(KEY, "")
    if not named and _is_openai(url):
        named = os.environ.get("OPENAI_API_KEY", "")
    return named or "none"  # local servers want some key, whatever it is


def _is_openai(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "api.openai.com"
