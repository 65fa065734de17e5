"""What time and tokens are worth: in the user's currency, else in machine seconds."""

from __future__ import annotations

from dataclasses import dataclass

from phi3kit.settings import Settings

MACHINE_SECONDS = "machine seconds"


@dataclass(frozen=True, slots=True)
class Prices:
    """What things cost, in `unit`.

    Attributes:
        per_second: of the machine's time; None when it has no price.
        per_token_in, per_token_out: of a server's tokens; None when answers cost time.
        basis: what that rests on, in a sentence.
    """

    unit: str
    per_second: float | None
    per_token_in: float | None
    per_token_out: float | None
    basis: str

    def answer(self, seconds: float, tokens_in: float, tokens_out: float) -> float | None:
        """The cost of an answer that took these; None when it has no price."""
        if self.per_token_in is not None and self.per_token_out is not None:
            return tokens_in * self.per_token_in + tokens_out * self.per_token_out
        return self.work(seconds)

    def work(self, seconds: float) -> float | None:
        """The cost of so much of the machine's time; None when it has no price."""
        return None if self.per_second is None else seconds * self.per_second


def prices(settings: Settings) -> Prices:
    """The prices that `settings.compare` gives. Those of tokens hold when a server answers."""
    chosen = settings.compare
    tokens_in, tokens_out = (
        chosen.price_per_million_tokens_in, chosen.price_per_million_tokens_out)
    hour = chosen.price_per_hour
    by_token = settings.model.endpoint is not None and (
        tokens_in is not None or tokens_out is not None)
    if not by_token and hour is None:
        return Prices(MACHINE_SECONDS, 1.0, None, None, "No price is given for machine time "
                      "(compare.price_per_hour), so costs are its seconds." if tokens_in is None
                      and tokens_out is None else "Prices of tokens hold for a server's answers "
                      "only; this model ran here, and machine time has no price "
                      "(compare.price_per_hour), so costs are its seconds.")
    money = chosen.currency
    said = []
    if by_token:
        said.append(f"{tokens_in or 0:g} and {tokens_out or 0:g} {money} for a million tokens "
                    "read and written")
    if hour is not None:
        said.append(f"{hour:g} {money} for an hour of machine time while it works (a machine "
                    "that is paid for while it waits costs the same whatever the arm)")
    return Prices(
        money, None if hour is None else hour / 3600,
        (tokens_in or 0.0) / 1e6 if by_token else None,
        (tokens_out or 0.0) / 1e6 if by_token else None, f"Prices: {', '.join(said)}.")
