"""Two equal arms, compared over and over: how often the statistics cry wolf, and cover the truth.

`pytest -m slow -s tests/compare/test_coverage.py` prints the measured rates.
"""

from __future__ import annotations

import numpy as np
import pytest

from phi3kit.compare.intervals import Method, interval
from phi3kit.compare.statistics import sign_flip_p

RUNS = 2000


def answers(rng: np.random.Generator, clusters: int) -> list[tuple[str, float, float]]:
    """(document, score, score) of two equally good arms, right half of the time on average.

    1 to 5 questions a document; the arms share how hard a question is, and each has its luck
    with a document. Four in ten scores are right or wrong, the others lie between, as token F1
    does.
    """
    found = []
    for document in range(clusters):
        luck = rng.normal(0, 0.8, 2)
        for hardness in rng.normal(0, 1, rng.integers(1, 6)):
            chance = 1 / (1 + np.exp(-(hardness + luck)))
            score = np.where(rng.random(2) < 0.4, rng.random(2) < chance,
                             rng.beta(1 + 2 * chance, 3 - 2 * chance))
            found.append((f"d{document}", float(score[0]), float(score[1])))
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("clusters", [10, 40])
def test_equal_arms_are_told_apart_in_one_run_of_twenty(clusters: int) -> None:
    rng = np.random.default_rng(clusters)
    method = Method(confidence=0.95, resamples=1000, seed=0)
    alarms = covered = mean_covered = agreed = 0
    for _ in range(RUNS):
        drawn = answers(rng, clusters)
        differences = [(document, a - b) for document, a, b in drawn]
        alarm = sign_flip_p(differences, method) < 0.05
        found = interval(differences, method, bounds=(-1.0, 1.0))
        inside = found.low <= 0 <= found.high
        mean = interval([(document, a) for document, a, _ in drawn], method)
        alarms += alarm
        covered += inside
        agreed += alarm != inside
        mean_covered += mean.low <= 0.5 <= mean.high
    print(f"\n{clusters} documents, {RUNS} runs: false alarms {alarms / RUNS:.3f}, coverage "
          f"{covered / RUNS:.3f} (difference) {mean_covered / RUNS:.3f} (mean), test and "
          f"interval agree {agreed / RUNS:.3f}")
    # Two standard errors of a rate of 5% over 2000 runs are one point.
    assert 0.035 <= alarms / RUNS <= 0.065
    assert 0.93 <= covered / RUNS <= 0.97
    assert 0.93 <= mean_covered / RUNS <= 0.97
    assert agreed / RUNS >= 0.97
