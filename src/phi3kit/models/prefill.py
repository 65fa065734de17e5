"""Prompts read into keys and values, what several of them begin with only once.

Questions about the same documents are asked below the same passages, and every prompt begins
with the same instruction. As a token's keys and values depend on the tokens before it alone,
prompts that begin alike share them: they are laid out as a tree, and each of its branches goes
through the model once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from phi3kit.models.causal import causal_of
from phi3kit.models.kv_cache import Pair, held

# A pass through the model costs about what so many tokens more in another pass would.
_PASS = 128
# Shorter beginnings are not worth a step of their own.
_LEAST = 24


@dataclass(frozen=True, slots=True)
class Branch:
    """Tokens that some prompts share after tokens that they share too.

    Attributes:
        rows: the prompts.
        start: the first token's index, the same in all of them.
        end: the index after the last one.
    """

    rows: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Beginning:
    """What all prompts of a call begin with.

    Attributes:
        tokens: how many tokens it has.
        layers: keys and values of each layer, of one row; empty when there are no tokens.
    """

    tokens: int
    layers: tuple[Pair, ...]


NOTHING = Beginning(0, ())


def beginning(model: Any, prompts: Sequence[list[int]]) -> Beginning:
    """Read what all `prompts` begin with, if it is worth it."""
    if len(prompts) < 2:
        return NOTHING
    tokens = _common(min(prompts), max(prompts), min(map(len, prompts)) - 1)
    if tokens < _LEAST:
        return NOTHING
    layers = read(model, [[*prompts[0][:tokens], 0]])
    return Beginning(tokens, tuple(layers))


def read(model: Any, prompts: Sequence[Sequence[int]], begun: Beginning = NOTHING,
         ) -> list[Pair]:
    """Keys and values of all tokens of the prompts but the last ones.

    Args:
        model: a causal language model, and nothing longer than `kv_cache.longest` says.
        prompts: token ids, of any lengths.
        begun: what all of them begin with.

    Returns:
        Of each layer two tensors [prompts, heads, longest - 1, size], padded on the left.
    """
    sheet = _Sheet(model, prompts)
    if begun.tokens:
        every = Branch(tuple(range(len(prompts))), 0, begun.tokens)
        sheet.write(every, [(keys[0], values[0]) for keys, values in begun.layers])
    for level in levels(prompts, begun.tokens):
        # A pass holds its rows' keys and values once more, so it may not have all the rows.
        for some in alike(level, most=max(1, len(prompts) // 4)):
            sheet.compute(some)
    return sheet.layers


def levels(prompts: Sequence[Sequence[int]], start: int) -> list[list[Branch]]:
    """The branches of `prompts` after `start` tokens; all that one stands on are levels before.

    Every token but a prompt's last is in one branch of that prompt.
    """
    found: list[list[Branch]] = []
    order = sorted(range(len(prompts)), key=lambda row: list(prompts[row]))
    waiting = [(tuple(order), start, 0)]
    while waiting:
        rows, at, depth = waiting.pop()
        shortest = min(len(prompts[row]) for row in rows) - 1
        # In order of the tokens: what the first and the last share, all do.
        end = _common(prompts[rows[0]], prompts[rows[-1]], shortest)
        alone = end == max(len(prompts[row]) for row in rows) - 1
        if end > at and (alone or end - at >= _LEAST):
            found.extend([] for _ in range(depth + 1 - len(found)))
            found[depth].append(Branch(rows, at, end))
            at, depth = end, depth + 1
        if not alone:
            waiting.extend((some, at, depth) for some in _parted(prompts, rows, end))
    return found


def alike(branches: Sequence[Branch], most: int) -> Iterator[list[Branch]]:
    """Branches of like length together, at most so many: padding costs less than a pass would."""
    order = sorted(branches, key=lambda branch: branch.start - branch.end)
    group: list[Branch] = []
    padding = 0
    for branch in order:
        short = group[0].end - group[0].start - (branch.end - branch.start) if group else 0
        if padding + short > _PASS or len(group) == most:
            yield group
            group, padding, short = [], 0, 0
        group.append(branch)
        padding += short
    if group:
        yield group


def _parted(prompts: Sequence[Sequence[int]], rows: Sequence[int], at: int,
            ) -> Iterator[tuple[int, ...]]:
    """Ordered `rows` by their token at `at`; those that end there are together."""
    parts: dict[int | None, list[int]] = {}
    for row in rows:
        token = prompts[row][at] if at < len(prompts[row]) - 1 else None
        parts.setdefault(token, []).append(row)
    return (tuple(part) for part in parts.values())


def _common(first: Sequence[int], second: Sequence[int], limit: int) -> int:
    return next((i for i in range(limit) if first[i] != second[i]), limit)


class _Sheet:
    """Where the keys and values of a batch are put together."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]]) -> None:
        # Without the output layer: nothing is asked of it yet.
        self._inner = causal_of(model).base_model
        self._prompts = prompts
        self._columns = max(map(len, prompts)) - 1
        self._offsets = [self._columns + 1 - len(prompt) for prompt in prompts]
        self.layers: list[Pair] = []

    def compute(self, branches: Sequence[Branch]) -> None:
        """Read the tokens of `branches`, all of which stand on what has been written."""
        import torch

        before = max(branch.start for branch in branches)
        after = max(branch.end - branch.start for branch in branches)
        ids = torch.zeros(len(branches), after, dtype=torch.long)
        mask = torch.zeros(len(branches), before + after, dtype=torch.long)
        places = torch.arange(after).repeat(len(branches), 1)
        for i, branch in enumerate(branches):
            length = branch.end - branch.start
            ids[i, :length] = torch.tensor(
                self._prompts[branch.rows[0]][branch.start:branch.end])
            mask[i, before - branch.start:before + length] = 1
            # Padding too stays below the row's end: a place beyond a model's last one is an
            # error in some, and in others (longrope) another rotation for all rows.
            places[i] = (places[i] + branch.start).clamp(max=branch.end - 1)
        device = next(self._inner.parameters()).device
        cache = self._known(branches, before)
        done = self._inner(
            input_ids=ids.to(device), attention_mask=mask.to(device),
            position_ids=places.to(device), past_key_values=cache, use_cache=True)
        layers = [(layer.keys, layer.values) for layer in done.past_key_values.layers]
        for i, branch in enumerate(branches):
            end = before + branch.end - branch.start
            self.write(branch, [(keys[i, :, before:end], values[i, :, before:end])
                                for keys, values in layers])

    def write(self, branch: Branch, layers: Sequence[Pair]) -> None:
        """Put down what was read: of each layer two tensors [heads, tokens, size]."""
        if not self.layers:
            rows = len(self._prompts)
            self.layers = [tuple(  # type: ignore[misc] # a pair of them
                found.new_zeros(rows, found.shape[0], self._columns, found.shape[2])
                for found in pair) for pair in layers]
        for (keys, values), (new_keys, new_values) in zip(self.layers, layers, strict=True):
            for row in branch.rows:
                at = slice(self._offsets[row] + branch.start, self._offsets[row] + branch.end)
                keys[row, :, at], values[row, :, at] = new_keys, new_values

    def _known(self, branches: Sequence[Branch], before: int) -> Any:
        """What the branches stand on, `before` tokens padded on the left."""
        from transformers import DynamicCache

        if not before:
            return DynamicCache(config=self._inner.config)
        pairs: list[Pair] = []
        for pair in self.layers:
            known = []
            for tensor in pair:
                _, heads, _, size = tensor.shape
                part = tensor.new_zeros(len(branches), heads, before, size)
                for i, branch in enumerate(branches):
                    offset = self._offsets[branch.rows[0]]
                    part[i, :, before - branch.start:] = (
                        tensor[branch.rows[0], :, offset:offset + branch.start])
                known.append(part)
            pairs.append((known[0], known[1]))
        return held(pairs)
