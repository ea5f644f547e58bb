"""Linear, dynamical and spatial cells: equations of the papers in NumPy, as references."""

import numpy as np
import pytest
from cells import H
from scipy import signal

from rnn_jax import (
    AntisymmetricRNNCell,
    ConvLSTMCell,
    CoRNNCell,
    CTRNNCell,
    HiddenCarry,
    LEMCell,
    LMUCell,
    LRUCell,
    LSTMCarry,
    MinGRUCell,
    MinLSTMCell,
    RGLRUCell,
    S5Cell,
)
from rnn_jax.cells.lem import LEMCarry
from rnn_jax.cells.linear import ComplexCarry
from rnn_jax.cells.lmu import LMUCarry
from rnn_jax.cells.ode import OscillatorCarry


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def named(gates, seen):
    """The values of each gate over time, by its name."""
    return dict(zip(gates, np.swapaxes(seen, 0, 1), strict=True))


def by_gate(params, gates):
    """The weights of each gate: input matrix, recurrent matrix, bias."""
    parts = (np.split(np.asarray(w), len(gates), axis=-1) for w in params[:3])
    return dict(zip(gates, zip(*parts, strict=True), strict=True))


def chang(params, xs, carry):
    """Chang et al. (2019): forward Euler, with an antisymmetric recurrent matrix plus diffusion."""
    epsilon, gamma = 0.2, 0.03
    w_x, w, b = params
    matrix = w.T - w - gamma * np.eye(H)
    (h,), hs = carry, []
    for x in xs:
        h = h + epsilon * np.tanh((matrix @ h.T).T + x @ w_x + b)
        hs.append(h)
    return HiddenCarry(h), np.array(hs)


def rusch(params, xs, carry):
    """Rusch, Mishra (2021): y'' = sigma(W y + U y' + V u + b) - gamma y - epsilon y'.

    The velocity z moves first, by old values; the position y moves by the new velocity.
    """
    dt, gamma, epsilon = 0.2, 1.5, 0.7
    v, (w, u), b = params.w_x, np.split(params.w_h, 2), params.b
    (y, z), ys = carry, []
    for x in xs:
        z = z + dt * np.tanh(y @ w + z @ u + x @ v + b) - dt * gamma * y - dt * epsilon * z
        y = y + dt * z
        ys.append(y)
    return OscillatorCarry(y, z), np.array(ys)


def convolved(pictures, kernel):
    """Convolution with zero padding: the sum over all offsets inside the image."""
    count, height, width, _ = pictures.shape
    around = kernel.shape[0] // 2
    out = np.zeros((count, height, width, kernel.shape[-1]))
    for i, j, di, dj in np.ndindex(height, width, *kernel.shape[:2]):
        row, column = i + di - around, j + dj - around
        if 0 <= row < height and 0 <= column < width:
            out[:, i, j] += pictures[:, row, column] @ kernel[di, dj]
    return out


def shi(params, xs, carry):
    """Shi et al. (2015) without peepholes."""
    (h, c), hs = carry, []
    for x in xs:
        net = convolved(x, params.w_x) + convolved(h, params.w_h) + params.b
        i, f, g, o = np.split(net, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        hs.append(h)
    return LSTMCarry(h, c), np.array(hs)


def orvieto(params, xs, carry):
    """Orvieto et al. (2023): x' = Lambda x + gamma B u, y = Re(C x), all complex."""
    eigenvalues = np.exp(-np.exp(params.nu) + 1j * np.exp(params.theta))
    matrix = np.split(params.w_x, 2, axis=1)[0] + 1j * np.split(params.w_x, 2, axis=1)[1]
    bias = params.b[:H] + 1j * params.b[H:]
    out = params.w_y[:H] - 1j * params.w_y[H:]
    state, ys = carry.re + 1j * carry.im, []
    for x in xs:
        state = eigenvalues * state + np.exp(params.gamma) * (x @ matrix + bias)
        ys.append((state @ out).real)
    return ComplexCarry(state.real, state.imag), np.array(ys)


def feng_gru(params, xs, carry):
    """Feng et al. (2024), minGRU, not in logarithms."""
    w_x, b = params
    (h,), hs, seen = carry, [], []
    for x in xs:
        z, n = np.split(x @ w_x + b, 2, axis=-1)
        z = sigmoid(z)
        h = (1 - z) * h + z * n
        hs.append(h)
        seen.append((z, n))
    return HiddenCarry(h), np.array(hs), named("zn", seen)


def grazzi(params, xs, carry):
    """Grazzi et al. (2024): a coefficient s in 0 to 1, here of minGRU, becomes 2 s - 1."""
    (w_z, w_n), (b_z, b_n) = np.split(params.w_x, 2, axis=1), np.split(params.b, 2)
    (h,), hs, seen = carry, [], []
    for x in xs:
        s, n = 1 - sigmoid(x @ w_z + b_z), x @ w_n + b_n
        h = (2 * s - 1) * h + (1 - s) * n
        hs.append(h)
        seen.append((1 - s, n))
    return HiddenCarry(h), np.array(hs), named("zn", seen)


def feng_lstm(params, xs, carry):
    """Feng et al. (2024), minLSTM with gates that sum to one, not in logarithms."""
    w_x, b = params
    (h,), hs, seen = carry, [], []
    for x in xs:
        i, f, n = np.split(x @ w_x + b, 3, axis=-1)
        i, f = sigmoid(i), sigmoid(f)
        i, f = i / (i + f), f / (i + f)
        h = f * h + i * n
        hs.append(h)
        seen.append((i, f, n))
    return HiddenCarry(h), np.array(hs), named("ifn", seen)


def griffin(params, xs, carry):
    """De et al. (2024): a_t = a^(c r_t), a = sigmoid(Lambda), c = 8."""
    (w_r, w_i, w_n), (b_r, b_i, b_n) = np.split(params.w_x, 3, axis=1), np.split(params.b, 3)
    a, (h,), hs, seen = sigmoid(params.decay), carry, [], []
    for x in xs:
        r, i, n = sigmoid(x @ w_r + b_r), sigmoid(x @ w_i + b_i), x @ w_n + b_n
        a_t = a ** (8 * r)
        h = a_t * h + np.sqrt(1 - a_t**2) * (i * n)
        hs.append(h)
        seen.append((r, i, n))
    return HiddenCarry(h), np.array(hs), named("rin", seen)


def song(params, xs, carry):
    """Song, Yang, Wang (2016), equations 10 and 11 with Dale's law, without noise."""
    alpha, signs = 0.3, np.diag([1, 1, -1])
    w, u, b = (np.asarray(array) for array in params)
    (h,), rates = carry, []
    for x in xs:
        h = (1 - alpha) * h + alpha * (np.tanh(h) @ signs @ np.abs(u) + x @ w + b)
        rates.append(np.tanh(h))
    return HiddenCarry(h), np.array(rates)


def rusch_lem(params, xs, carry):
    """Rusch et al. (2022), equation 3, with y as h."""
    dt, sizes = 0.5, (H, 2 * H, 3 * H)
    v1, v2, vz, vy = np.split(np.asarray(params.w_x), sizes, axis=1)
    w1, w2, wz = np.split(np.asarray(params.w_h), sizes[:2], axis=1)
    b1, b2, bz, by = np.split(np.asarray(params.b), sizes)
    (y, z), ys = carry, []
    for u in xs:
        slow, fast = dt * sigmoid(y @ w1 + u @ v1 + b1), dt * sigmoid(y @ w2 + u @ v2 + b2)
        z = (1 - slow) * z + slow * np.tanh(y @ wz + u @ vz + bz)
        y = (1 - fast) * y + fast * np.tanh(z @ params.w_z + u @ vy + by)
        ys.append(y)
    return LEMCarry(y, z), np.array(ys)


def voelker(params, xs, carry):
    """Voelker et al. (2019), equations 1 and 2, discretized by SciPy."""
    order, theta = H, 6.0
    a, b = np.zeros((order, order)), np.zeros((order, 1))
    for i in range(order):
        b[i] = (2 * i + 1) * (-1) ** i / theta
        for j in range(order):
            a[i, j] = (2 * i + 1) / theta * (-1 if i < j else (-1) ** (i - j + 1))
    rest = np.eye(order), np.zeros((order, 1))
    a, b, *_ = signal.cont2discrete((a, b, *rest), 1.0, method="zoh")
    (h, m), hs = carry, []
    for x in xs:
        u = x @ params.e_x + h @ params.e_h + m @ params.e_m
        m = m @ a.T + np.outer(u, b)
        h = np.tanh(x @ params.w_x + h @ params.w_h + m @ params.w_m + params.b)
        hs.append(h)
    return LMUCarry(h, m), np.array(hs)


def smith(params, xs, carry):
    """Smith et al. (2023): a diagonal system, mode by mode discretized by SciPy."""
    re, im, y = np.array(carry.re), np.array(carry.im), []
    systems = []
    for n in range(H):
        rate, angle = -np.exp(params.decay[n]), params.frequency[n]
        a, step = np.array([[rate, -angle], [angle, rate]]), np.exp(params.log_step[n])
        systems.append(signal.cont2discrete((a, np.eye(2), a, np.eye(2)), step, method="zoh")[:2])
    for x in xs:
        source = x @ params.w_x + params.b
        for n, (a, b) in enumerate(systems):
            parts = np.stack([re[:, n], im[:, n]]), np.stack([source[:, n], source[:, H + n]])
            re[:, n], im[:, n] = a @ parts[0] + b @ parts[1]
        y.append(np.concatenate([re, im], axis=1) @ params.w_y)
    return ComplexCarry(re, im), np.array(y)


OSCILLATORS = CoRNNCell(H, step_size=0.2, stiffness=1.5, damping=0.7)
EQUATIONS = [
    pytest.param(AntisymmetricRNNCell(H, step_size=0.2, damping=0.03), chang, id="antisymmetric"),
    pytest.param(OSCILLATORS, rusch, id="cornn"),
    pytest.param(ConvLSTMCell(H), shi, id="conv_lstm"),
    pytest.param(ConvLSTMCell(2, kernel_size=1), shi, id="conv_lstm_of_one_place"),
    pytest.param(LRUCell(H), orvieto, id="lru"),
    pytest.param(CTRNNCell(H, 0.3, excitatory=0.7, activation="tanh"), song, id="ctrnn"),
    pytest.param(LEMCell(H, step_size=0.5), rusch_lem, id="lem"),
    pytest.param(LMUCell(H, window=6.0), voelker, id="lmu"),
    pytest.param(S5Cell(H), smith, id="s5"),
    pytest.param(MinGRUCell(H), feng_gru, id="mingru"),
    pytest.param(MinGRUCell(H, a_min=-1.0), grazzi, id="signed_mingru"),
    pytest.param(MinLSTMCell(H), feng_lstm, id="minlstm"),
    pytest.param(RGLRUCell(H), griffin, id="rglru"),
]
