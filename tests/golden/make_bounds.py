"""Makes tests/golden/bounds_v1.json: figures of bounds and statistical limits, by numpy, scipy and
mpmath, from the formulas' sources. Shares no arithmetic with the library: FP8 gaps come from listing
the values, the chord from the angle it subtends, Gram matrices from singular values, tolerance ranks
and Clopper-Pearson limits from scipy's beta distribution, and GELU's slope from mpmath.

    python3 -m pip install numpy==2.3.4 scipy mpmath
    python3 tests/golden/make_bounds.py
"""

import json
import pathlib

import mpmath
import numpy as np
from scipy import stats

RANDOM = np.random.default_rng(20)


def rounded(numbers):
    """To float32, in which weights are kept: exact in the file and in the library."""
    return np.asarray(numbers, dtype=np.float32).astype(float)


def half_gaps(mantissa_bits, bias, largest_code):
    values = []
    for code in range(largest_code + 1):
        exponent, mantissa = code >> mantissa_bits, code & ((1 << mantissa_bits) - 1)
        whole = mantissa + (0 if exponent == 0 else 1 << mantissa_bits)
        values.append(whole * 2.0 ** (max(exponent, 1) - bias - mantissa_bits))
    gaps = np.diff(values)
    return list(np.append(gaps, gaps[-1]) / 2)


def chord(radius, sigma, width):
    """2 sqrt(d) sin(angle / 2): the chord of the angle whose sine is radius / (sqrt(d) sigma)."""
    mpmath.mp.dps = 40
    root = mpmath.sqrt(width)
    kappa = mpmath.mpf(radius) / (root * mpmath.mpf(sigma))
    return float(2 * root * (mpmath.sin(mpmath.asin(kappa) / 2) if kappa <= 1 else 1))


def gelu_slope(x):
    return abs(mpmath.diff(lambda t: t * mpmath.ncdf(t), x))


def gelu_slope_on(low, high):
    inside = [t for t in (mpmath.sqrt(2), -mpmath.sqrt(2)) if low <= t <= high]
    return float(max(gelu_slope(mpmath.mpf(t)) for t in [low, high, *inside]))


def linear_case(kind):
    weight, bias = rounded(RANDOM.normal(size=(7, 4)) + 0.5), rounded(RANDOM.normal(size=7) + 1)
    gamma, x = rounded(RANDOM.normal(size=7)), rounded(RANDOM.normal(size=4))
    box = rounded(np.abs(x) / 17 + 0.001)
    moved = weight - weight.mean(axis=0) if kind == "layer" else weight
    by_norm = np.linalg.svd(moved, compute_uv=False)[0] * np.linalg.norm(box)
    by_box = np.sqrt(box @ np.abs(moved.T @ moved) @ box)
    radius = min(by_norm, by_box)
    centre = weight @ x + bias
    if kind == "layer":
        centre = centre - centre.mean()
    sigma = np.sqrt(np.mean(centre**2) + 1e-5)
    bound = radius if kind == "none" else np.abs(gamma).max() * chord(radius, sigma, 7)
    return {"kind": kind, "weight": weight.tolist(), "bias": bias.tolist(), "gamma": gamma.tolist(),
            "epsilon": 1e-5, "decoded": x.tolist(), "half_widths": box.tolist(), "bound": bound}


def mlp_case():
    hidden, bias = rounded(RANDOM.normal(size=(5, 3))), rounded(RANDOM.normal(size=5))
    output, x = rounded(RANDOM.normal(size=(6, 5))), rounded(RANDOM.normal(size=3))
    box = rounded(np.abs(x) / 9)
    centre, reach = hidden @ x + bias, np.abs(hidden) @ box
    slopes = np.array([gelu_slope_on(c - r, c + r) for c, r in zip(centre, reach)])
    moves = slopes * reach
    largest = lambda matrix: np.linalg.svd(matrix, compute_uv=False)[0]
    through = largest(output) * slopes.max() * largest(hidden) * np.linalg.norm(box)
    bound = min(largest(output) * np.linalg.norm(moves),
                np.sqrt(moves @ np.abs(output.T @ output) @ moves), through)
    return {"hidden_weight": hidden.tolist(), "hidden_bias": bias.tolist(),
            "output_weight": output.tolist(), "decoded": x.tolist(), "half_widths": box.tolist(),
            "bound": bound}


def spread(values, weights):
    """sqrt of min(largest row sum, Frobenius norm) of the weighted Gram matrix, and the diameter."""
    deviations = (values - weights @ values) * np.sqrt(weights)[:, None]
    if deviations.shape[0] < deviations.shape[1]:
        deviations = deviations.T
    gram = deviations.T @ deviations
    pairs = np.linalg.norm(values[:, None] - values[None], axis=2)
    return np.sqrt(min(np.abs(gram).sum(axis=1).max(), np.linalg.norm(gram))), pairs.max()


def attention_case(sharpness):
    query = rounded(RANDOM.normal(size=4) * sharpness)
    keys, values = rounded(RANDOM.normal(size=(6, 4))), rounded(RANDOM.normal(size=(6, 4)))
    key_norms, value_norms = rounded(RANDOM.uniform(0, 0.1, 6)), rounded(RANDOM.uniform(0, 0.2, 6))
    query_norm = 0.0625
    scores = keys @ query / 2
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    tau_j = (np.linalg.norm(query) * key_norms +
             query_norm * (np.linalg.norm(keys, axis=1) + key_norms)) / 2
    tau = tau_j.max()
    rest = np.delete(weights, weights.argmax()).sum()
    gain = lambda a: a * (1 - a) * (1 - np.exp(-2 * tau)) / (a + (1 - a) * np.exp(-2 * tau))
    variation = np.tanh(tau / 2)
    if rest < 0.5 and rest < 1 / (1 + np.exp(tau)):
        variation = min(variation, max(gain(1 - rest), gain(rest)))
    mean = weights @ value_norms
    best = min(mean + variation * np.ptp(value_norms), value_norms.max(), np.exp(2 * tau) * mean)
    moved = np.expm1(2 * tau) / (2 * tau) * np.sqrt(weights @ tau_j**2)
    deviation, diameter = spread(values, weights)
    moved_deviation = deviation + np.sqrt(weights @ value_norms**2)
    moved_diameter = diameter + 2 * value_norms.max()
    return {"query": query.tolist(), "keys": keys.tolist(), "values": values.tolist(),
            "query_norm": query_norm, "key_norms": key_norms.tolist(),
            "value_norms": value_norms.tolist(), "a": best + moved * deviation,
            "b": mean + variation * moved_diameter, "c": mean + moved * moved_deviation,
            "d": best + variation * diameter}


def bernstein(samples, error):
    """Maurer and Pontil (2009), theorem 4; range 1."""
    n, log = len(samples), np.log(2 / error)
    return samples.mean() + np.sqrt(2 * samples.var(ddof=1) * log / n) + 7 * log / (3 * (n - 1))


def betting(samples, error):
    """Waudby-Smith and Ramdas (2024): the mean at which capital just reaches 1 / error, on a grid."""
    n, sum_, squares, bets = len(samples), 0.5, 0.25, []
    for seen, sample in enumerate(samples, 1):
        bets.append(min(np.sqrt(2 * np.log(1 / error) / (n * max(squares / seen, 1e-8))), 0.75))
        sum_ += sample
        squares += (sample - sum_ / (seen + 1)) ** 2
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        capital = np.cumprod(1 + np.array(bets) * (middle - samples))
        low, high = (low, middle) if capital.max() >= 1 / error else (middle, high)
    return high


def means():
    samples = rounded(RANDOM.beta(2, 20, size=200))
    return {"samples": samples.tolist(), "confidence": 0.95,
            "hoeffding": samples.mean() + np.sqrt(np.log(20) / 400),
            "bernstein": bernstein(samples, 0.05), "betting": betting(samples, 0.05)}


def tolerance_rank(n, coverage, confidence):
    """Order statistic k of uniforms is Beta(k, n - k + 1): the least k that lies above coverage."""
    ranks = np.arange(1, n + 1)
    enough = stats.beta.sf(coverage, ranks, n - ranks + 1) >= confidence
    return int(ranks[enough][0]) if enough.any() else None


def rates():
    rows = []
    for events, trials in [(0, 1000), (10, 1000), (20, 1000), (900, 1000), (1, 1), (3, 7)]:
        upper = 1.0 if events == trials else stats.beta.ppf(0.95, events + 1, trials - events)
        lower = 0.0 if events == 0 else stats.beta.ppf(0.05, events, trials - events + 1)
        rows.append([events, trials, upper, lower])
    return rows


def main():
    hard = {"gaussian": RANDOM.normal(size=(9, 6)), "hilbert": 1 / np.add.outer(range(8), range(1, 9)),
            "graded": RANDOM.normal(size=(8, 8)) * np.logspace(0, -12, 8),
            "rank_one": np.outer(RANDOM.normal(size=5), RANDOM.normal(size=7)) * 1e20}
    covariance = np.cov(RANDOM.normal(size=(5, 40)) * np.arange(1, 6)[:, None], bias=True)
    golden = {
        "half_gaps": {"e4m3fn": half_gaps(3, 7, 0x7E), "e5m2": half_gaps(2, 15, 0x7B)},
        "chords": [[r, s, d, chord(r, s, d)] for r in (1e-6, 0.1, 0.9, 3.0, 9.0)
                   for s in (0.5, 2.0) for d in (4, 4096)],
        "spectral": [[rounded(m).tolist(), np.linalg.svd(rounded(m), compute_uv=False)[0]]
                     for m in hard.values()],
        "gelu_slopes": [[a, b, gelu_slope_on(a, b)] for a, b in
                        [(-3, -2), (-2, -1), (-0.5, 0.25), (0, 1), (1, 2), (2, 5), (-9, 9)]],
        "linear": [linear_case(kind) for kind in ("none", "layer", "rms")],
        "mlp": mlp_case(),
        "attention": [attention_case(sharpness) for sharpness in (0.5, 2, 8)],
        "rank_floor": {"covariance": covariance.tolist(),
                       "tails": [float(np.sort(np.linalg.eigvalsh(covariance))[:5 - k].sum())
                                 for k in range(6)]},
        "means": means(),
        "tolerance": [[n, c, p, tolerance_rank(n, c, p)] for n in (58, 59, 298, 299, 1000)
                      for c in (0.95, 0.99) for p in (0.9, 0.95)],
        "rates": rates(),
        "degradation": [62, 37, 2500, float(stats.beta.ppf(0.975, 63, 2500 - 62) -
                                            stats.beta.ppf(0.025, 37, 2500 - 36))],
        "seed_formula": 0.1 + 2 * np.sqrt(512) * 2**-3,
    }
    path = pathlib.Path(__file__).with_name("bounds_v1.json")
    path.write_text(json.dumps(golden) + "\n")
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
