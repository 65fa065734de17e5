"""Where the facts of the answers stand: in the request, in the documents, in neither."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from phi3kit.advise.measure.corpus import Corpus
from phi3kit.advise.measure.findings import Findings, found, nothing
from phi3kit.advise.measure.labels import LEAST
from phi3kit.advise.measure.passages import Passages, rarity, telling, tokens
from phi3kit.dataset.forms import ABSTENTION, Form, Forms, leaves
from phi3kit.dataset.pairs import Pair
from phi3kit.parsing import whole_json
from phi3kit.progress import bar

COVERED = 0.8  # of an answer's tokens
ANCHORED = 0.3  # of the request's tokens, by weight
_SHORT = 8  # telling tokens; every one may be the fact
_RARE = 6.0  # rarity: less than once in a million words
_FORM = 0.1  # of the answers of a form: its keys, keywords, fixed values
CHANCE = 0.2  # that any passages hold the tokens, the right ones or not
_PART = 0.2  # of the new tokens: what a second document must add
_MOST, _HALF, _THIRD, _FEW = 0.8, 0.5, 1 / 3, 0.1
_SEVERAL, _SINGLE = 0.15, 0.05
_KEYWORD = re.compile(r"\b\w+\s*[=:](?!=)")
_NAME = re.compile(r"(?<=[\w,;:)\"'’-] )[A-Z][\w’'-]*")

Where = Literal["request", "documents", "several", "neither", "label", "common", "plain",
                "abstention"]


@dataclass(frozen=True, slots=True)
class Placed:
    """How many answers have their facts where, and how many say from how many sources.

    Attributes:
        where: answers by place; "several": in two documents together and in no single one;
            "label": from a closed set, to be decided from the request; "common": "yes", "B",
            "two days", which stand anywhere by chance, so that their grounds cannot be seen;
            "plain": nothing specific in them.
        sourced: answers that need facts and name a source.
        joined: those of them that name two sources or more.
        documents: whether documents were looked at.
    """

    where: Counter[Where]
    sourced: int
    joined: int
    documents: bool

    @property
    def judged(self) -> int:
        """Answers that say something: neither abstentions nor common ones."""
        return sum(self.where.values()) - self.where["abstention"] - self.where["common"]

    @property
    def held(self) -> int:
        """Answers that documents hold."""
        return self.where["documents"] + self.where["several"]

    @property
    def told(self) -> str:
        """The figures in words."""
        where = self.where
        parts = [f"{where['request']:,} stand in the request"]
        if self.documents:
            parts.append(f"{self.held:,} in the documents")
        parts.append(f"{where['neither']:,} " + ("in neither" if self.documents else
                                                 "elsewhere (no documents were given)"))
        if where["label"]:
            parts.append(f"{where['label']:,} are labels or fixed phrases decided from it")
        if where["plain"]:
            parts.append(f"{where['plain']:,} hold nothing specific")
        left = where["abstention"] + where["common"]
        more = f"; {left:,} not counted, for they hold nothing that could be looked for"
        return f"of {self.judged:,} answers " + ", ".join(parts) + more * bool(left)


def measure_facts(forms: Forms, corpus: Corpus | None) -> Findings:
    """`facts_in_request`, `external_facts` and `multi_document`; see `place`."""
    placed = place(forms, corpus)
    if placed.judged < LEAST:
        why = f"{placed.judged} answers with content are too few to judge"
        return (nothing("facts_in_request", why) + nothing("external_facts", why)
                + nothing("multi_document", why))
    return facts_in_request(placed) + external_facts(placed) + multi_document(placed)


def facts_in_request(placed: Placed) -> Findings:
    """`facts_in_request`: yes from 80% of the answers on, no up to 10%, else partly.

    Answers without anything specific do not count. Where half stand in neither place, they
    may be guesses, translations or computed, so there is no answer.
    """
    where = placed.where
    counted = placed.judged - where["plain"]
    if counted < LEAST:
        return nothing("facts_in_request", f"too few answers with facts: {placed.told}")
    inside = (where["request"] + where["label"]) / counted
    told = f"{inside:.0%} of the answers with facts have them from the request: {placed.told}"
    if inside >= _MOST:
        return found("facts_in_request", "yes", told)
    if where["neither"] > _HALF * counted:
        return nothing("facts_in_request", f"{told}; the others may be known to a model, "
                                           "computed or in other documents")
    return found("facts_in_request", "no" if inside <= _FEW else "partly", told)


def external_facts(placed: Placed) -> Findings:
    """`external_facts`: essential when documents hold a third of the answers, some from 10%.

    An assistant that gets a third of its requests wrong is of no use, hence the third. Only
    what documents hold and the request does not counts as external. None, when at least 90%
    need nothing from outside. What stands in neither may be known to the model, computed or
    invented: too much of it gives no answer.
    """
    told = placed.told
    outside = placed.held / placed.judged
    if outside >= _THIRD:
        return found("external_facts", "essential", told)
    if outside >= _FEW:
        return found("external_facts", "some", told)
    if outside + placed.where["neither"] / placed.judged <= _FEW:
        return found("external_facts", "none", told)
    why = ("what stands in neither may be known to a model, computed or missing from the "
           "documents" if placed.documents else "--corpus shows whether documents hold the rest")
    return nothing("external_facts", f"{told}; {why}")


def multi_document(placed: Placed) -> Findings:
    """`multi_document`: true when 15% of the answers that need facts need two documents.

    By the sources that the examples name, if 80% of these answers name any; false, then,
    up to 5%. Otherwise by the tokens that only two documents together hold, which can say
    true alone: that a document names the thing whose value another gives is not seen.
    """
    needing = placed.held + placed.where["neither"]
    if needing < LEAST:
        return nothing("multi_document", f"too few answers need facts: {placed.told}")
    if placed.sourced >= _MOST * needing:
        share = placed.joined / placed.sourced
        told = (f"{placed.joined:,} of {placed.sourced:,} answers whose facts are not in the "
                f"request name two sources or more ({share:.0%})")
        if share >= _SEVERAL or share <= _SINGLE:
            return found("multi_document", share >= _SEVERAL, told)
        return nothing("multi_document", f"{told}, neither many nor almost none")
    if not placed.documents:
        return nothing("multi_document", "the examples name no sources (source_ids), and no "
                                         "documents were given")
    several = placed.where["several"]
    told = (f"{several:,} of {placed.held:,} answers that stand in the documents take two of "
            "them together")
    if placed.held >= LEAST and several >= _SEVERAL * placed.held:
        return found("multi_document", True, told)
    return nothing("multi_document", f"{told}; facts that only lead to another document are "
                                     "not seen so")


def place(forms: Forms, corpus: Corpus | None) -> Placed:
    """Find the facts of every answer.

    What a model cannot guess are an answer's telling tokens: numbers, and words other than
    the hundred or so most frequent ones; of answers with more than eight only numbers,
    names, and words rarer than one in a million (wordfreq), since the others are wording.
    Of JSON the values count, of calls the arguments, of any structured answers not what a
    tenth of them repeat.

    - request: 80% of the tokens stand there, and all numbers of a short answer do
    - documents: of the 20 passages that have most of the request's tokens (by inverse
      document frequency) and at least 30% of them, those of one document hold 80% of the
      tokens that the request lacks. Passages of the sources that the example names are
      looked at too
    - several: two documents do so together, and each adds a fifth of the tokens
    - common: as many passages on anything would hold the tokens with a chance of over 20%

    With the sample's 145 facts and joined facts, without their sources: 121 in the documents
    and 17 common; in Python's library (10,000 passages) none; with answers exchanged among
    the questions 14, which is how much is found by chance among documents on one subject. Of
    FinanceBench's 150 answers, most of them computed or judged, 28 in the pages that are their
    evidence, and none when exchanged.
    """
    fixed = _fixed(forms)
    passages: Passages | None = None
    if corpus is not None:
        with bar("indexing the documents", len(corpus.passages)) as advance:
            passages = Passages(corpus, advance)
    where: Counter[Where] = Counter()
    sourced = joined = 0
    with bar("looking for the answers", len(forms.pairs)) as advance:
        for pair, form in zip(forms.pairs, forms.of, strict=True):
            at = _where(pair, form, fixed, passages)
            where[at] += 1
            if at in ("documents", "several", "neither"):
                sourced += bool(pair.source_ids)
                joined += len(set(pair.source_ids)) > 1
            advance(1)
    return Placed(where, sourced, joined, passages is not None)


def _where(pair: Pair, form: Form, fixed: Set[str], passages: Passages | None) -> Where:
    if form is ABSTENTION:
        return "abstention"
    if form.bare:
        return "common"
    if form.name in ("label", "template") and form.closed:
        return "label"
    wanted = facts(_content(pair, form))
    if form.strict:
        wanted -= fixed
    if not wanted:
        return "plain"
    asked = set(tokens(pair.request))
    new = wanted - asked
    numbers = len(wanted) <= _SHORT and any(token[0].isdigit() for token in new)
    if len(new) <= (1 - COVERED) * len(wanted) and not numbers:
        return "request"
    return _in_documents(new, telling(asked), pair, passages) if passages else "neither"


def facts(text: str) -> set[str]:
    """The tokens of an answer that a model cannot guess, see `place`."""
    every = telling(tokens(text)) - {"yes", "no"}
    if len(every) <= _SHORT:
        return every
    names = {token for name in _NAME.findall(text) for token in tokens(name)}
    return {token for token in every
            if token[0].isdigit() or token in names or rarity(token) > _RARE}


def _in_documents(new: Set[str], asked: Set[str], pair: Pair, passages: Passages) -> Where:
    named = {at for name in pair.source_ids for at in passages.of_source(name)}
    looked_at = {at for at in passages.find(asked)
                 if passages.share(asked, passages.holds[at]) >= ANCHORED} | named
    if passages.chance(new, max(1, len(looked_at))) > CHANCE:
        return "common"
    held: dict[int, set[str]] = {}
    for at in sorted(looked_at):
        held.setdefault(passages.document[at], set()).update(new & passages.holds[at])
    least = COVERED * len(new)
    if any(len(some) >= least for some in held.values()):
        return "documents"
    part = _PART * len(new)
    for one, other in combinations(held.values(), 2):
        if len(one | other) >= least and len(other - one) >= part and len(one - other) >= part:
            return "several"
    return "neither"


def _content(pair: Pair, form: Form) -> str:
    if form.name == "JSON":
        return "\n".join(leaves(whole_json(pair.answer)))
    if form.name == "call":
        return _KEYWORD.sub(" ", pair.answer.partition("(")[2])
    return pair.answer


def _fixed(forms: Forms) -> set[str]:
    """Tokens that a tenth of the structured answers share: form, not facts."""
    strict = [set(tokens(_content(pair, form))) for pair, form in forms.spoken if form.strict]
    seen = Counter(token for found in strict for token in found)
    return {token for token, count in seen.items() if count >= max(3, _FORM * len(strict))}
