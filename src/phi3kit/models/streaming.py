"""One answer, piece by piece, from a model that runs in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

from phi3kit.errors import ModelError
from phi3kit.models.out_of_memory import is_out_of_memory


def stream(model: Any, tokenizer: Any, ids: list[int], stops: list[int],
           max_new_tokens: int) -> Generator[str, None, None]:
    """Yield the greedy continuation of `ids` as text.

    Closing the iterator stops the model at its next token and waits for its thread.

    Raises:
        ModelError: generation failed; what says that memory has ended is raised as it is.
    """
    import torch
    from transformers import StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer

    from phi3kit.models.attention import grouped
    from phi3kit.models.decoding import greedy_config

    stopped = threading.Event()
    failure: list[BaseException] = []

    class Stopped(StoppingCriteria):  # type: ignore[misc] # transformers is untyped here
        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
            return torch.full((input_ids.shape[0],), stopped.is_set(), device=input_ids.device)

    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    input_ids = torch.tensor([ids], device=model.device)

    def work() -> None:
        try:
            with torch.inference_mode(), grouped(model):
                model.generate(
                    input_ids=input_ids, attention_mask=torch.ones_like(input_ids),
                    generation_config=greedy_config(stops, stops[0] if stops else 0,
                                                    max_new_tokens),
                    streamer=streamer, stopping_criteria=StoppingCriteriaList([Stopped()]))
        except BaseException as error:  # re-raised in the reader's thread
            failure.append(error)
        finally:
            streamer.end()  # a reader must not wait for a thread that has died

    worker = threading.Thread(target=work, name="phi3kit-stream", daemon=True)
    worker.start()
    try:
        for piece in streamer:
            if piece:
                yield piece
    finally:
        stopped.set()
        worker.join()
    if failure:
        if is_out_of_memory(failure[0]):
            raise failure[0]
        first = next(iter(str(failure[0]).strip().splitlines()), type(failure[0]).__name__)
        raise ModelError(f"the model stopped answering ({first[:200]})") from failure[0]
