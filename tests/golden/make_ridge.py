"""Makes ridge.safetensors: closed-form fits by scikit-learn and numpy, which ridge_test.cpp compares with.

    python3 -m venv VENV && VENV/bin/pip install scikit-learn==1.7.2 numpy==2.3.4 safetensors==0.6.2
    VENV/bin/python tests/golden/make_ridge.py

Reduced-rank regression is taken the long way: ridge as least squares on augmented rows, then the
singular vectors of the weighted fit.
"""

import pathlib

import numpy as np
import safetensors.numpy
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

TOKENS, FEATURES, STREAMS, HEADS, HEAD_DIM = 300, 12, 3, 2, 3
LAMBDAS = np.array([1e-4, 0.01, 0.3])
SHARED_LAMBDA = 0.02


def square_root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(values) @ vectors.T


def main():
    random = np.random.default_rng(5)
    width = HEADS * HEAD_DIM
    mixing = random.normal(size=(FEATURES, FEATURES)) * np.logspace(0, -3, FEATURES)
    features = random.normal(size=(TOKENS, FEATURES)) @ mixing.T * 5 + 40 * random.normal(size=FEATURES)
    outputs = features @ random.normal(size=(FEATURES, STREAMS * width)) * 0.2
    outputs += random.normal(size=outputs.shape) + 10
    features, outputs = features.astype(np.float32), outputs.astype(np.float32)
    x, y = features.astype(np.float64), outputs.astype(np.float64)

    scaler = StandardScaler().fit(x)
    z = scaler.transform(x)
    model = Ridge(alpha=np.repeat(LAMBDAS, width) * TOKENS).fit(z, y)
    weight = model.coef_ / scaler.scale_
    bias = model.intercept_ - weight @ scaler.mean_

    blocks = random.normal(size=(STREAMS * HEADS, HEAD_DIM, HEAD_DIM))
    metric = blocks @ blocks.transpose(0, 2, 1) + 0.1 * np.eye(HEAD_DIM)
    root = np.zeros((STREAMS * width, STREAMS * width))
    for i, block in enumerate(metric):
        part = slice(i * HEAD_DIM, (i + 1) * HEAD_DIM)
        root[part, part] = square_root(block)
    augmented = np.vstack([z, np.sqrt(TOKENS * SHARED_LAMBDA) * np.eye(FEATURES)])
    centred = np.vstack([y - y.mean(0), np.zeros((FEATURES, y.shape[1]))])
    least_squares = np.linalg.lstsq(augmented, centred, rcond=None)[0]
    directions = np.linalg.svd(augmented @ least_squares @ root, full_matrices=False)[2]
    tensors = {}
    for rank in (2, 5):
        keep = directions[:rank].T @ directions[:rank]
        reduced = (least_squares @ root @ keep @ np.linalg.inv(root)).T / scaler.scale_
        tensors[f"rank{rank}.weight"] = reduced
        tensors[f"rank{rank}.bias"] = y.mean(0) - reduced @ scaler.mean_

    tensors |= {
        "features": features[None],
        "targets": outputs.reshape(TOKENS, STREAMS, width).transpose(1, 0, 2),
        "lambdas": LAMBDAS,
        "shared_lambda": np.array([SHARED_LAMBDA]),
        "weight": weight.reshape(STREAMS, width, FEATURES),
        "bias": bias.reshape(STREAMS, width),
        "metric": metric.reshape(STREAMS, HEADS, HEAD_DIM, HEAD_DIM),
    }
    path = pathlib.Path(__file__).with_name("ridge.safetensors")
    safetensors.numpy.save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path)


if __name__ == "__main__":
    main()
