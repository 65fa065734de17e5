"""What the user has named: the project's settings, documents, examples, a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from phi3kit.advise.base_model import billions_of, can_be_loaded, same_size
from phi3kit.plan.shapes import Shape
from phi3kit.records import OPTIONS, Comparison, Option
from phi3kit.runs import read_run
from phi3kit.settings import Settings
from phi3kit.settings.recorded import flat


@dataclass(frozen=True, slots=True)
class AtHand:
    """What costs are counted for and commands are written with.

    Attributes:
        settings: the project's; costs follow from its passages, chunks and epochs.
        corpus: files and folders named as documents.
        dataset: the file of examples; "" when none was named.
        example_tokens: mean tokens of an example of it, request and answer; 0 when unknown.
        model: the base as it was named; "" when none was.
        shape: that model's shape.
        size_b: billions of weights of the model that the answers are about; None when unknown.
        questions: the held-out questions of a comparison that was made; "" without one.
        adapter: what its tuned options answered with; "" if none did.
        base: the model that it ran on; "" when its run does not tell.
        tried: the options that it ran: what these need is there already.
    """

    settings: Settings = field(default_factory=Settings)
    corpus: tuple[str, ...] = ()
    dataset: str = ""
    example_tokens: float = 0.0
    model: str = ""
    shape: Shape | None = None
    size_b: float | None = None
    questions: str = ""
    adapter: str = ""
    base: str = ""
    tried: tuple[Option, ...] = ()

    @property
    def to_load(self) -> str:
        """The model that commands name; "" where the project's own is the one that is meant.

        What cannot be loaded, as a bare size, is left to the user to put in.
        """
        if self.model and can_be_loaded(self.model):
            return self.model
        project = self.settings.model
        if self.base:  # what was measured there was measured with it
            return "" if self.base == project.name else self.base
        size, has = self.size_b, billions_of(project)
        if size is None or (not self.model and (has is None or same_size(size, has))):
            return ""
        return f"YOUR_{float(f'{size:.3g}'):g}B_MODEL"

    def meant_by(self, answers: Mapping[str, Any]) -> AtHand:
        """The same without the named model, when the answers are about another size."""
        size = answers.get("model_size_b")
        meant = replace(self, size_b=size)
        if self.shape is not None and size is not None and same_size(
                size, self.shape.parameters / 1e9):
            return meant
        return replace(meant, model="", shape=None)

    def after(self, comparison: Comparison) -> AtHand:
        """The same with what a finished comparison was made from, as its run folder tells.

        Raises:
            RunError: the folder is no run folder.
        """
        used = flat(read_run(Path(comparison.run)))

        def name(key: str) -> str:
            value = used.get(key)
            return value if isinstance(value, str) else ""

        ran = {arm.arm for arm in comparison.arms}
        return replace(self, questions=name("compare.questions"), adapter=name("ask.adapter"),
                       base=name("model.name"),
                       tried=tuple(option for option in OPTIONS if option in ran))
