"""Where the answers of `phi3kit advise` come from: a file, flags, or the questionnaire."""

from __future__ import annotations

import contextlib
import shutil
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from phi3kit import progress
from phi3kit.errors import DataError

if TYPE_CHECKING:
    from phi3kit.advise.from_data import FromData
    from phi3kit.records import Comparison


@dataclass(frozen=True, slots=True)
class Answering:
    """What is known before anything is asked.

    Attributes:
        written: the scenario file's answers; None without a file.
        flags: answers given with --set.
        data: what was measured.
        comparison: the evidence, which holds the answers that it was predicted from.
    """

    written: Mapping[str, Any] | None
    flags: Mapping[str, Any]
    data: FromData
    comparison: Comparison | None

    def answers(self, *, ask: bool) -> tuple[dict[str, Any], bool]:
        """The user's own answers, and whether the questionnaire was used.

        Args:
            ask: whether the questionnaire may be used at all.
        """
        if self.written is not None:
            # What the file leaves open may be measured; --set may leave it open still.
            own = _known(self.written)
        elif self.flags or not (own := self._asked_before()):
            if ask and self._asks():
                return {**_known(self._questionnaire()), **self.flags}, True
            own = {}
        own |= self.flags
        for failure in self.data.unmeasured:
            if failure.where not in own:
                _say(f"{failure.where} is not measured: {failure.why}")
        return own, False

    def _asks(self) -> bool:
        """On a terminal the rest is asked; a pipe is read when it is all there is."""
        at_hand = self.data.at_hand
        if at_hand.corpus or at_hand.dataset or at_hand.model or self.comparison:
            return sys.stdin.isatty()
        return not self.flags

    def _asked_before(self) -> dict[str, Any]:
        """The answers from which the comparison's prediction was made; empty without any."""
        from phi3kit.advise.scenario import check_answers

        advice = self.comparison.advice if self.comparison else None
        try:
            known = check_answers((advice or {}).get("scenario") or {})
        except (DataError, AttributeError):
            return {}  # written by another hand, or another version: it says nothing here
        if known and self.comparison:
            progress.note(f"answers as in the advice that {self.comparison.run} put to the test")
        return known

    def _say_measured(self) -> None:
        """What need not be asked, briefly: the advice tells how it was found."""
        from phi3kit.advise.scenario import word

        known = [f"{item.field} = {word(item.value)}" for item in self.data.measured
                 if item.field not in self.flags]
        if known:
            _say(f"Measured, and not asked: {', '.join(known)}")

    def _questionnaire(self) -> dict[str, Any]:
        from phi3kit.advise.draft import DRAFT_PATH, read_draft, save_draft
        from phi3kit.advise.interview import Interrupted, interview
        from phi3kit.advise.scenario import FIELDS
        from phi3kit.cli.advise_questions import asker

        self._say_measured()
        known = {item.field for item in self.data.measured} | set(self.flags)
        begun = read_draft()
        if begun:
            _say(f"going on with {len(begun)} answers from before ({DRAFT_PATH}; delete it to "
                 "begin anew)")
        elif sys.stdin.isatty():
            _say("Ctrl-C stops and keeps the answers; the same command then goes on.")
        try:
            return interview(asker(), begun, [f for f in FIELDS if f.name not in known], _keep)
        except Interrupted as stop:
            if not stop.answers:
                _say("stopped; nothing was answered yet")
            else:
                save_draft(stop.answers)
                _say(f"stopped; {len(stop.answers)} answers kept in {DRAFT_PATH}, "
                     "the same command goes on from there")
            raise typer.Exit(130) from None


def _keep(answers: Mapping[str, Any]) -> None:
    """Save the answers so far: a closed terminal, or a page that cannot be written, loses none."""
    from phi3kit.advise.draft import save_draft

    with contextlib.suppress(DataError):  # advice can be had in a folder that is read only
        save_draft(answers)


def _known(answers: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answers.items() if value is not None}


def _say(text: str) -> None:
    """A line on stderr; on a terminal wrapped between words."""
    if not sys.stderr.isatty():
        progress.note(text)
        return
    width = max(30, min(78, shutil.get_terminal_size().columns - 2))
    for line in textwrap.wrap(text, width, subsequent_indent="  "):
        progress.note(line)
