"""How often the facts in the documents change."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from phi3kit.advise.measure.corpus import Corpus
from phi3kit.advise.measure.findings import Findings, found, nothing
from phi3kit.advise.measure.history import DAY, YEAR, History, from_file_times, from_git
from phi3kit.errors import DataError

# Of the documents, new or changed in a usual period: one in a hundred.
TURNOVER = 0.01
# Answer, its period's name and length, and how many periods it takes to speak of a usual one.
_PERIODS = (("daily", "day", DAY, 7), ("weekly", "week", 7 * DAY, 4),
            ("monthly", "month", YEAR / 12, 4), ("yearly", "year", YEAR, 2))


def facts_change(corpus: Corpus, *, now: float | None = None) -> Findings:
    """`facts_change`: the shortest period in which documents usually change.

    For days, weeks, months and years, counted back from the end of the history (at most
    three years), the share of documents that were added or changed in each; the answer is
    the shortest period whose median share reaches `TURNOVER`. In a collection of up to 100
    documents that is one document in half of the periods. New documents count: a
    folder of news changes although no article does. The median ignores imports and
    reformatting, which happen in few periods. Static is what has no such period within two
    years or more; a shorter history in which not even months reach the share has no answer.

    By the commits of Basecamp's handbook (16 documents), GitHub's policies (57) and
    Ethereum's improvement proposals (949) this gives monthly, yearly and weekly.

    Args:
        now: seconds since 1970, for files outside of version control.
    """
    paths = [document.path for document in corpus.documents]
    try:
        history = _history(paths, time.time() if now is None else now)
    except DataError as error:
        return nothing("facts_change", error.what)
    except OSError as error:
        return nothing("facts_change", f"a file's time cannot be read ({error.strerror})")
    return judge(history)


def judge(history: History) -> Findings:
    """The answer that a history gives, see `facts_change`."""
    told = (f"by {history.told_by}, {_date(history.start)} to {_date(history.end)}, "
            f"{history.documents:,} documents")
    observed = [(answer, name, shares) for answer, name, length, least in _PERIODS
                if len(shares := turnover(history, length)) >= least]
    for answer, name, shares in observed:
        usual = median(shares)
        if usual >= TURNOVER:
            return found("facts_change", answer,
                         f"in a usual {name} (median of {len(shares)}) {usual:.1%} of the "
                         f"documents are new or changed, and {TURNOVER:.0%} counts as change; "
                         f"{told}")
    if not observed or observed[-1][0] != "yearly":
        period = f", in which a usual {observed[-1][1]} changes too little" if observed else ""
        hint = f"; {history.hint}" if history.hint else ""
        return nothing("facts_change", f"the history is too short{period}: {told}{hint}")
    return found("facts_change", "static",
                 f"not even in a usual year {TURNOVER:.0%} of the documents are new or "
                 f"changed; {told}")


def turnover(history: History, length: float) -> list[float]:
    """The share of documents added or changed in each period of `length` seconds.

    The last period first; what is left at the history's start, less than a period, is left
    out. The share is of the documents that there were at the period's end.
    """
    periods = int((history.end - history.start) / length)
    changed: list[set[str]] = [set() for _ in range(periods)]
    later = [0] * (periods + 1)  # documents made in a period
    for event in history.events:
        index = min(int((history.end - event.time) / length), periods)
        later[index] += event.made
        if index < periods:
            changed[index].add(event.document)
    shares, there = [], history.documents
    for index in range(periods):
        shares.append(min(len(changed[index]) / there, 1.0) if there > 0 else 0.0)
        there -= later[index]
    return shares


def _history(paths: Sequence[Path], now: float) -> History:
    return from_git(paths) or from_file_times(paths, now)


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
