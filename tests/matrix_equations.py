"""Cells with a matrix state: equations of the papers as loops over examples and heads."""

import numpy as np
import pytest
from equations import sigmoid

from rnn_jax import DeltaNetCell, GatedDeltaNetCell, MLSTMCell
from rnn_jax.cells.matrix_state import MatrixCarry
from rnn_jax.cells.mlstm import MLSTMCarry

HEADS, K = 2, 3
SIZE = HEADS * K


def softplus(x):
    return np.log1p(np.exp(x))


def unit(x):
    return x / np.sqrt(np.sum(x**2) + 1e-6)


def gates_of(params, x, vectors):
    """The vector gates [heads, K] and the scalar gates [heads] of the input of one example."""
    scalars = x @ params.w_s + params.b_s
    parts = np.reshape(x @ params.w_x, (vectors, HEADS, K))
    return [*parts, *scalars.reshape(-1, HEADS)]


def yang(scale):
    """Yang et al. (2024): S = S alpha (1 - beta k k^T) + beta v k^T, a column for each key."""

    def reference(params, xs, carry):
        count = len(carry.h)
        s = np.reshape(carry.s, (count, HEADS, K, K)).swapaxes(-1, -2).copy()
        ys, seen = np.zeros((len(xs), count, SIZE)), []
        for t, batch in enumerate(xs):
            values = []
            for n, x in enumerate(batch):
                q, k, v, beta, *alpha = gates_of(params, x, 3)
                q, k = (np.array([unit(g * sigmoid(g)) for g in gate]) for gate in (q, k))
                beta = scale * sigmoid(beta)
                if alpha:
                    alpha = [np.exp(-np.exp(params.decay) * softplus(alpha[0]))]
                for i in range(HEADS):
                    keep = np.eye(K) - beta[i] * np.outer(k[i], k[i])
                    s[n, i] = s[n, i] @ keep * (alpha[0][i] if alpha else 1)
                    s[n, i] += beta[i] * np.outer(v[i], k[i])
                    ys[t, n, i * K : (i + 1) * K] = s[n, i] @ q[i]
                values.append((q.ravel(), k.ravel(), v.ravel(), beta, *alpha))
            seen.append(tuple(map(np.array, zip(*values, strict=True))))
        last = MatrixCarry(ys[-1], s.swapaxes(-1, -2).reshape(count, -1))
        names = "q", "k", "v", "beta", "alpha"
        return last, ys, by_name(names[: len(seen[0])], seen)

    return reference


def beck(params, xs, carry):
    """Beck et al. (2024): mLSTM without stabilization; at the end divided by exp(m)."""
    count, m = len(carry.h), np.array(carry.m)
    grown = np.exp(m)[..., None]
    n = np.reshape(carry.n, (count, HEADS, K)) * grown
    c = np.reshape(carry.c, (count, HEADS, K, K)) * grown[..., None]
    ys, seen = np.zeros((len(xs), count, SIZE)), []
    for t, batch in enumerate(xs):
        values = []
        for e, x in enumerate(batch):
            q, k, v, o, i, f = gates_of(params, x, 4)
            k, o, log_i, i, f = k / np.sqrt(K), sigmoid(o), i, np.exp(i), sigmoid(f)
            before = m[e].copy()
            m[e] = np.maximum(np.maximum(np.log(f) + before, log_i), 0)
            for j in range(HEADS):
                c[e, j] = f[j] * c[e, j] + i[j] * np.outer(k[j], v[j])
                n[e, j] = f[j] * n[e, j] + i[j] * k[j]
                read = q[j] @ c[e, j] / max(abs(n[e, j] @ q[j]), 1)
                ys[t, e, j * K : (j + 1) * K] = o[j] * read
            shares = i / np.exp(m[e]), f * np.exp(before - m[e])
            values.append((q.ravel(), k.ravel(), v.ravel(), o.ravel(), *shares))
        seen.append(tuple(map(np.array, zip(*values, strict=True))))
    grown = np.exp(m)[..., None]
    last = (c / grown[..., None]).reshape(count, -1), (n / grown).reshape(count, -1), m
    return MLSTMCarry(ys[-1], *last), ys, by_name("qkvoif", seen)


def by_name(names, seen):
    """The values of each gate over time, which differ in width, by its name."""
    return dict(zip(names, map(np.array, zip(*seen, strict=True)), strict=True))


MATRIX_EQUATIONS = [
    pytest.param(DeltaNetCell(SIZE, HEADS), yang(1), id="deltanet"),
    pytest.param(DeltaNetCell(SIZE, HEADS, negative_eigenvalues=True), yang(2), id="deltanet_2"),
    pytest.param(GatedDeltaNetCell(SIZE, HEADS), yang(1), id="gated_deltanet"),
    pytest.param(MLSTMCell(SIZE, HEADS), beck, id="mlstm"),
]
