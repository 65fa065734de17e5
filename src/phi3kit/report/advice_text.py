"""What an advice says in words, shared by the terminal, Markdown and HTML views."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from phi3kit.records import Advice, Cost, Interval, Measured, Option, Reason, Reversal, Settle
from phi3kit.wording import listed, printable

MEANS: Mapping[str, str] = {
    "base": "prompting alone", "rag": "retrieve", "finetune": "fine-tune",
    "both": "retrieve and fine-tune"}
METHODS: Mapping[str, str] = {"lora": "LoRA", "qlora": "QLoRA"}
# From this confidence on, in words; the first that is reached.
_SURE = ((0.95, "nearly certain"), (0.85, "very likely right"), (0.7, "likely right"),
         (0.55, "rather right than wrong"), (0.45, "as likely wrong as right"),
         (0.0, "more likely wrong than right"))
# A rule against the advice is worth a line from this share of the heaviest one for it.
_HEAVY = 0.5
_BREAKS = re.compile(r"\s*[^\S ]\s*")

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Weighed:
    """A reason and what it pulls towards the option that the rules argue for.

    Attributes:
        pull: its effect on that option minus its mean effect on all; below 0 it speaks against.
        strongest: the line of evidence to show where there is room for one; "" without any.
        cases: how many there are, as "6 for, 2 against".
    """

    reason: Reason
    pull: float
    strongest: str
    cases: str


def on_one_line(text: str) -> str:
    r"""`text` on one line; what cannot be printed stands as its escape, such as \x1b."""
    # Plain spaces stay as they are: a quoted path in a command may hold two in a row.
    line = _BREAKS.sub(" ", text).strip()
    return printable(line)


def cleaned(record: T) -> T:
    """`record` with every string in it, at any depth, made printable.

    Words of documents come in with what was measured, and a prediction file may come by
    another hand: no view should have to think of control characters.
    """
    return _cleaned(record)  # type: ignore[no-any-return]


def _cleaned(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **{
            field.name: _cleaned(getattr(value, field.name))
            for field in dataclasses.fields(value)})
    if isinstance(value, Mapping):
        return {_cleaned(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_cleaned(item) for item in value)
    return on_one_line(value) if isinstance(value, str) else value


def name(option: str) -> str:
    """An option with what it means: "both: retrieve and fine-tune"."""
    return f"{option}: {MEANS[option]}" if option in MEANS else option


def heading(advice: Advice) -> str:
    """The advice in a few words."""
    if advice.decided:
        return name(advice.recommendation)
    return f"measure (leaning to {advice.recommendation})"


def sure(advice: Advice) -> str:
    """How sure, in words and as a number: "very likely right, 87%"."""
    seen = advice.comparison
    if advice.basis == "measured" and seen is not None:
        # Its level is that of the differences that were seen, no rate of right advice.
        return (f"measured, at {100 * advice.confidence:g}% confidence" if seen.winner else
                f"measured, one of {len(seen.contenders)} not told apart, "
                f"{advice.confidence:.0%}")
    words = next(words for least, words in _SURE if advice.confidence >= least)
    # A comparison that left it open makes the rules' confidence theirs alone.
    return f"{words}{' by the rules' if seen else ''}, {advice.confidence:.0%}"


def standing(advice: Advice) -> str:
    """What the advice rests on, and what its number means."""
    seen = advice.comparison
    if advice.basis == "measured":
        if advice.decided:
            return "Measured, not argued: a finished comparison decided it."
        return ("Measured, but the score is not all that is asked for." if seen and seen.winner
                else "Measured, and still open.")
    rules = len(advice.reasons)
    argued = (f"Argued from {rules} rule{'' if rules == 1 else 's'}; such a margin held in "
              f"about {advice.confidence:.0%} of the published cases"
              if rules else "Nothing is answered yet, so no rule applies")
    if seen is not None:
        argued += ". The comparison that was taken in does not decide it"
    return argued + "."


def outcome(advice: Advice) -> list[str]:
    """The comparison that was taken in, in sentences; none without one."""
    seen = advice.comparison
    if seen is None:
        return []
    clusters = f" in {seen.clusters} groups by source document" if seen.clusters else ""
    enough = seen.winner and seen.contenders and seen.contenders != (seen.winner,)
    found = (f"{seen.winner} is enough, by the comparison's margin" if enough else
             f"{seen.winner} beats every other option" if seen.winner else
             f"{listed(seen.contenders)} cannot be told apart" if seen.contenders else
             "no option can be told from another")
    sentences = [f"On {seen.metric}, {found}: {seen.questions:,} questions{clusters}."]
    if seen.argued == seen.winner:
        sentences.append(f"The rules argued for {seen.argued} as well.")
    else:
        sentences.append(f"The rules alone argue for {seen.argued}"
                         + (": measured goes before argued." if advice.basis == "measured"
                            else "."))
    if enough:
        sentences.append(f"The best, or not told from it: {listed(seen.contenders)}.")
    return sentences


def arms(advice: Advice) -> list[tuple[str, Interval]]:
    """What was measured of every option, best first."""
    if advice.comparison is None:
        return []
    return sorted(advice.comparison.arms.items(), key=lambda item: -item[1].mean)


def argued(advice: Advice) -> Option:
    """What the rules recommend, whatever was measured."""
    return advice.comparison.argued if advice.comparison else advice.recommendation


def weighed(advice: Advice) -> list[Weighed]:
    """Every reason with its pull towards what the rules argue for, the heaviest for it first."""
    return sorted((_weighed(reason, argued(advice)) for reason in advice.reasons),
                  key=lambda item: -item.pull)


def _weighed(reason: Reason, option: Option) -> Weighed:
    effects = reason.effects
    mean = sum(effects.values()) / len(effects) if effects else 0.0
    pull = effects.get(option, 0.0) - mean
    sides = {side: [line for line in reason.evidence if line.startswith(f"{side}:")]
             for side in ("for", "against")}
    lines = sides["for"] or sides["against"] or list(reason.evidence)
    # "(~)" marks figures that were read off with less certainty.
    strongest = next((line for line in lines if "(~)" not in line), lines[0] if lines else "")
    supporting, against = len(sides["for"]), len(sides["against"])
    return Weighed(reason, pull, strongest, f"{supporting} for, {against} against")


def foremost(advice: Advice, most: int) -> list[Weighed]:
    """The reasons for what the rules argue for that weigh most, at most `most`."""
    return [item for item in weighed(advice) if item.pull > 0][:most]


def heaviest_against(advice: Advice) -> Weighed | None:
    """The reason that speaks most against the advice, when it is heavy beside those for it."""
    ordered = weighed(advice)
    if not ordered or ordered[-1].pull >= 0:
        return None
    least = _HEAVY * max(ordered[0].pull, 0.0)
    return ordered[-1] if -ordered[-1].pull >= least else None


def effects(reason: Reason | None) -> str:
    """A rule's effects as "rag +1.4 both +1.4"; "silent" when it does not fire."""
    if reason is None:
        return "silent"
    return " ".join(f"{o} {signed(e)}" for o, e in reason.effects.items() if e) or "0"


def signed(value: float) -> str:
    """A figure with its sign, and up to three decimals: "+1.4", "−0.125", "0"."""
    text = f"{abs(value):.3f}".rstrip("0").rstrip(".") or "0"
    return "0" if text == "0" else f"{'−' if value < 0 else '+'}{text}"


def word(value: Any) -> str:
    """An answer as it is written in a scenario file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(word(item) for item in value)
    return "unknown" if value is None else str(value)


def reversal(item: Reversal) -> str:
    """What would have to be otherwise, and what the advice would be then."""
    return f"{' and '.join(item.changes)}, then {item.recommendation}"


def told(item: Measured) -> str:
    """A measured answer before its `how`: "vocabulary = high", and the user's where it stands."""
    found = f"{item.field} = {word(item.value)}"
    if item.given is None:
        return found
    if item.given == item.value:
        return f"{found} (as you say)"
    return f"{found} (you say {word(item.given)}, which stands)"


def figure(cost: Cost) -> str:
    """What is expected with its range: "9.1 GB (7.9–10.4)"; no unit where `what` names it."""
    unit = "" if cost.unit in cost.what.split() else cost.unit
    shown = f"{amount(cost.expected)} {unit}".rstrip()
    if cost.low == cost.high:
        return shown
    return f"{shown} ({amount(cost.low)}–{amount(cost.high)})"


def amount(value: float) -> str:
    """A quantity with about two significant digits after the leading ones: 9.1, 0.25, 1,450."""
    size = abs(value)
    if size >= 100 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 1 else f"{value:.2g}"


def costs(advice: Advice) -> list[tuple[tuple[Option, ...], Cost]]:
    """The costs, those of several options that are the same in one."""
    groups: dict[tuple[Any, ...], list[Cost]] = {}
    for item in advice.costs:
        key = (item.what, item.low, item.expected, item.high, item.unit, item.how)
        groups.setdefault(key, []).append(item)
    return [(tuple(item.option for item in group), group[0]) for group in groups.values()]


def cost(options: Sequence[str], item: Cost) -> str:
    """A cost in a line: "memory to train (finetune, both): 9.1 GB (7.9–10.4)"."""
    return f"{item.what} ({', '.join(options)}): {figure(item)}"


def settling(settle: Settle) -> str:
    """What the comparison that settles it has to do, without where the number comes from."""
    return (f"About {settle.questions:,} questions tell {listed(settle.arms)} apart if they "
            f"differ by {settle.difference * 100:g} points.")


def commands(advice: Advice) -> list[str]:
    """The next commands; the one that settles it is among them, once."""
    found = list(advice.next)
    if advice.settle and advice.settle.command and advice.settle.command not in found:
        found.append(advice.settle.command)
    return found
