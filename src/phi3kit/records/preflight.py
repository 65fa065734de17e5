"""What of a model is looked at before it trains."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preflight:
    """A model before it trains, as far as it can be looked at without its weights.

    Attributes:
        model: as it was named.
        marks: control tokens of the form <|…|> that its chat template writes; each is one token.
        ends: tokens that end an answer.
        padding: the token for padding.
        modules: the layers that get the adapter; none where every weight trains.
        context: tokens that the model holds.
        positions: how it counts them: "default", "longrope", …
        notes: what has to be known, a line each.
        problems: what would stop the training, and the mend.
        unseen: what is looked at only when training starts, and why; it is empty above.
    """

    model: str
    marks: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    padding: str = ""
    modules: tuple[str, ...] = ()
    context: int | None = None
    positions: str = ""
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
