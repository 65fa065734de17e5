"""What the errors of the OpenAI client mean, in one line, for whoever calls a server."""

from __future__ import annotations

from dataclasses import dataclass

from phi3kit.errors import ModelError, first_line


@dataclass(frozen=True, slots=True)
class Mends:
    """What a user can do, by what went wrong."""

    key: str
    model: str
    unreachable: str
    slow: str
    otherwise: str = ""


def is_slow(error: Exception) -> bool:
    """Whether a server that was reached did not answer in time.

    The client's type for it is one of those for servers that cannot be reached, and stands for
    a connection that was not made in time too.
    """
    import openai

    return (isinstance(error, openai.APITimeoutError)
            and type(error.__cause__).__name__ != "ConnectTimeout")


def explain(error: Exception, *, model: str, where: str, mends: Mends,
            seconds: float) -> ModelError:
    """The error as a user's line.

    Args:
        error: the client's own, or one of its transport library.
        model: the model that was asked for.
        where: the server or the setting that names it.
        seconds: how long an answer was waited for.
    """
    import openai

    if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)):
        return ModelError("the server refuses the key", where=where, mend=mends.key)
    if isinstance(error, openai.NotFoundError):
        return ModelError(f"the server has no model '{model}'", where=where, mend=mends.model)
    if is_slow(error):
        return ModelError(f"the server did not answer within {seconds:g} s", where=where,
                          mend=mends.slow)
    if isinstance(error, openai.APIConnectionError):
        return ModelError("the server cannot be reached", where=where, mend=mends.unreachable)
    return ModelError(f"the server failed ({first_line(error)})", where=where,
                      mend=mends.otherwise)
