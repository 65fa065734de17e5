"""What a training would begin with, and what would stop it, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from phi3kit.errors import ModelError, SettingsError
from phi3kit.finetune.passes import pass_ahead
from phi3kit.finetune.refusals import refuse_settings
from phi3kit.finetune.stops import stops
from phi3kit.models.preflight import look
from phi3kit.plan.passes import Pass
from phi3kit.records import Preflight
from phi3kit.settings import Settings


@dataclass(frozen=True, slots=True)
class Preview:
    """A training that has not begun.

    Attributes:
        model: what is seen of it without its weights; all that would stop the training is among
            its problems.
        forward_pass: what one would hold; None where the settings cannot be trained with.
    """

    model: Preflight
    forward_pass: Pass | None


def preview(settings: Settings, *, strict: bool = False, resume: Path | None = None) -> Preview:
    """Look at what `finetune` would be given; a missing dataset is no problem of its own.

    Args:
        strict: look for what `--strict` stops at too.
        resume: the run folder that would have to go on.
    """
    seen, held, refused = look(settings.model, settings.finetune), None, []
    try:
        refuse_settings(settings)
        held = pass_ahead(settings)
    except (ModelError, SettingsError) as error:  # they exclude each other; no such device
        refused.append(str(error))
    found = stops(settings, strict=strict, resume=resume)
    return Preview(replace(seen, problems=(*seen.problems, *refused, *found)), held)
