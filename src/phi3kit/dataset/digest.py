"""What every training looks at before it starts: the audit without its slow parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from phi3kit.dataset import lengths
from phi3kit.dataset.balance import label_balance
from phi3kit.dataset.check import conflicts, named_files, repeats
from phi3kit.dataset.heldout import read_held_out
from phi3kit.dataset.leakage import find_leaks
from phi3kit.errors import DataError
from phi3kit.progress import note
from phi3kit.records import DataDigest, Failure, Leak, Lengths, Message
from phi3kit.settings import Settings

if TYPE_CHECKING:
    from phi3kit.dataset.encode import Encoded
    from phi3kit.dataset.examples import Example

_SHOWN = 20  # examples that are named; all of them are counted


def digest(settings: Settings, examples: Sequence[Example], chats: Sequence[Sequence[Message]],
           rows: Sequence[Encoded], tokenizer: Any, limit: int) -> DataDigest:
    """Lengths, copies, conflicts, leaks and labels of what is about to be trained on.

    Args:
        examples: those that are trained on; held-out questions are out of them already.
        chats: the same as messages, with their passages.
        rows: the same, encoded; at least one.
        tokenizer: the model's own; it counts what was cut.
        limit: tokens that an example may have.
    """
    _, questions = named_files(settings)
    asked = read_held_out(questions)
    again = repeats(examples)
    near = sum(repeat.near for repeat in again)
    return DataDigest(
        examples=len(examples),
        lengths=lengths.of_rows(tokenizer, chats, rows, limit, settings.model.name),
        copies=len(again) - near, near_copies=near, conflicts=len(conflicts(examples)),
        questions=len(asked), leaks=find_leaks(examples, asked),
        labels=label_balance(examples),
        control=len(lengths.with_control_tokens(tokenizer, chats)))


def digest_lines(found: DataDigest) -> list[str]:
    """A digest in a few lines; what is as it should be takes none."""
    sizes = found.lengths
    cut = (f"; {sizes.cut:,} are longer than {sizes.limit:,} and lose {sizes.lost:,} tokens of "
           "their prompts" if sizes.cut else "")
    if sizes.lost_answers:
        cut += f", {sizes.losing_answers:,} of them {sizes.lost_answers:,} answers to train on too"
    lines = [f"{found.examples:,} examples of {sizes.least:,} to {sizes.most:,} tokens, "
             f"median {sizes.median:,.0f}; the loss is on {sizes.trained:.0%} of them{cut}"]
    if found.copies or found.near_copies or found.conflicts:
        lines.append(f"{found.copies:,} exact and {found.near_copies:,} near copies; "
                     f"{found.conflicts:,} have the prompt of another and a different answer")
    if found.leaks:
        given_away = len({leak.line for leak in found.leaks})
        lines.append(f"{given_away:,} share 13 words in a row with held-out questions, or ask "
                     "nearly the same")
    if found.control:
        lines.append(f"{found.control:,} hold control tokens of the model, which are broken up")
    for labels in found.labels:
        most, least = max(labels.counts.values()), min(labels.counts.values())
        lines.append(f"{len(labels.counts)} labels{f' of {labels.kind}' if labels.kind else ''}, "
                     f"the most frequent {most:,} times, the rarest {least:,}")
    return lines


def refuse_findings(found: DataDigest | None, *, where: str) -> None:
    """Stop when an example gives a question away, contradicts another, or loses its start.

    Args:
        found: None where nobody looked, as in runs of before that was recorded.

    Raises:
        DataError: says how many do what.
    """
    if found is not None:
        refuse_counts(found.leaks, found.conflicts, found.lengths, where=where)


def refuse_counts(leaks: Sequence[Leak], conflicts: int, sizes: Lengths | None, *,
                  where: str) -> None:
    """The same of what was counted; `sizes` is None where the tokenizer is not here.

    Raises:
        DataError: as `refuse_findings`.
    """
    said = [f"{count:,} {what}" for count, what in (
        (len({leak.line for leak in leaks}), "are close to a held-out question"),
        (conflicts, "have the prompt of another and a different answer"),
        (sizes.cut if sizes else 0,
         f"are longer than {sizes.limit if sizes else 0:,} tokens and are cut"))
        if count]
    if said:
        raise DataError(f"of the examples {', '.join(said)}", where=where,
                        mend="Mend them (phi3kit dataset check shows which), or leave out "
                             "--strict")


def refuse_left_out(failures: Sequence[Failure]) -> None:
    """Name every example that training would leave out, and stop.

    Raises:
        DataError: there is one.
    """
    if not failures:
        return
    for failure in failures[:_SHOWN]:
        note(f"{failure.where}: {failure.why}")
    raise DataError(f"{len(failures):,} examples would be left out, the first: "
                    f"{failures[0].why}", where=failures[0].where,
                    mend="Mend them (phi3kit dataset check shows all), or leave out --strict")
