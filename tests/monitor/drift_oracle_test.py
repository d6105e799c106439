"""The drift test held against its definition, written out here, and its p-values against SciPy's
tests of what theory says of them. ctest names the built program: KVALIGN_DRIFT.
"""
import json
import math
import os
import random
import subprocess
import unittest

import numpy
from scipy import stats

BETS = [lambda p: 1.0] + [
    (lambda p, e=e, h=h: 1 + e * h(p))
    for h in (lambda p: 2 * p - 1, lambda p: 6 * p * p - 6 * p + 1) for e in (-1, -0.5, 0.5, 1)]


def run_all(requests):
    """[p, log10 of the capital, alarm] after each score, of each request."""
    lines = "".join(json.dumps({"round_requests": 5000, "alpha": 0.001, "seed": 1} | request) + "\n"
                    for request in requests)
    result = subprocess.run([os.environ["KVALIGN_DRIFT"]], input=lines, text=True, capture_output=True,
                            timeout=120, check=True)
    return [json.loads(line) for line in result.stdout.splitlines()]


def run(reference, scores, **options):
    answer, = run_all([{"reference": reference, "scores": scores} | options])
    return answer


def capital(p_values):
    """The mean of three gamblers' capital, each moving a share of it to all bets before betting."""
    total = 0
    for share in (0.001, 0.01, 0.1):
        parts = [1 / len(BETS)] * len(BETS)
        for p in p_values:
            whole = sum(parts)
            parts = [((1 - share) * part + share * whole / len(BETS)) * bet(p)
                     for part, bet in zip(parts, BETS)]
        total += sum(parts) / 3
    return total


class Definition(unittest.TestCase):
    def setUp(self):
        self.random = random.Random(3)
        self.reference = [round(self.random.gauss(0, 1), 1) for _ in range(50)]
        self.scores = [round(self.random.gauss(0.3, 1), 1) for _ in range(300)]

    def test_ranks_are_among_the_reference_and_the_rounds_requests(self):
        shown = run(self.reference, self.scores, round_requests=100)
        for i, ((p, _, _), score) in enumerate(zip(shown, self.scores)):
            seen = self.reference + self.scores[i - i % 100:i + 1]
            larger = sum(other > score for other in seen)
            equal = sum(other == score for other in seen)
            self.assertLessEqual(larger / len(seen) - 1e-12, p)
            self.assertLessEqual(p, (larger + equal) / len(seen) + 1e-12)

    def test_capital_is_what_the_bets_made_of_it(self):
        shown = run(self.reference, self.scores, round_requests=100)
        for i, (_, log10_capital, _) in enumerate(shown):
            if i % 7 == 0 or i % 100 in (0, 99):
                ps = [p for p, _, _ in shown[i - i % 100:i + 1]]
                self.assertAlmostEqual(log10_capital, math.log10(capital(ps)), places=9)

    def test_bets_are_fair(self):
        p = (numpy.arange(100_000) + 0.5) / 100_000
        for bet in BETS:
            factors = numpy.broadcast_to(bet(p), p.shape)
            self.assertAlmostEqual(factors.mean(), 1, places=9)
            self.assertGreaterEqual(factors.min(), 0)

    def test_the_alarm_is_where_capital_reaches_one_over_alpha(self):
        shown = run(self.reference, [3.0 + i for i in range(60)], alpha=0.01)
        first = next(i for i, (_, log10_capital, _) in enumerate(shown) if log10_capital >= 2)
        self.assertEqual([alarm for _, _, alarm in shown], [i >= first for i in range(60)])


class PValues(unittest.TestCase):
    """Over references and requests together: 400 runs, so that each run's own reference counts once."""

    def p_values(self, draw):
        source = numpy.random.default_rng(5)
        runs = run_all({"reference": draw(source, 20).tolist(), "scores": draw(source, 40).tolist(),
                        "seed": seed} for seed in range(400))
        return numpy.array([[p for p, _, _ in answers] for answers in runs])

    def check(self, draw):
        shown = self.p_values(draw)
        self.assertGreater(stats.kstest(shown.ravel(), "uniform").pvalue, 1e-3)
        # Independent within a run, too: else the means of runs would vary more, or less, than 1/12/40.
        means = shown.mean(axis=1)
        variance = 400 * numpy.var(means) / (1 / 12 / 40)
        self.assertGreater(stats.chi2.sf(variance, 399), 1e-3)
        self.assertGreater(stats.chi2.cdf(variance, 399), 1e-3)
        self.assertGreater(stats.spearmanr(shown[:, :-1].ravel(), shown[:, 1:].ravel()).pvalue, 1e-3)

    def test_uniform_and_independent(self):
        self.check(lambda source, count: source.standard_cauchy(count))

    def test_so_they_are_with_ties(self):
        self.check(lambda source, count: source.integers(0, 3, count))


if __name__ == "__main__":
    unittest.main()
