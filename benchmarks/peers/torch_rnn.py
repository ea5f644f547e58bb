"""PyTorch: `nn.LSTM`, `nn.GRU` and `nn.RNN`, with a thread for each core, or with cuDNN."""

import os

import numpy as np
import torch
from torch import nn

from peers import torch_lyapunov
from peers.problem import Prepared, Problem, Sizes

LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
DEVICE = torch.device("cuda" if os.environ.get("BENCHMARK_DEVICE") == "gpu" else "cpu")
# As in XLA. Vanishing gradients become denormal numbers, which are many times slower.
torch.set_flush_denormal(True)
if hasattr(os, "sched_getaffinity"):
    torch.set_num_threads(len(os.sched_getaffinity(0)))


def _wait():
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def layer(problem: Problem, devices: int) -> Prepared:
    """Prepare the layer, time-major, which is the default of PyTorch; `devices` is 1."""
    if problem.work == "lyapunov":
        return torch_lyapunov.spectrum(problem)
    rnn = LAYERS[problem.cell](problem.D, problem.H).to(DEVICE)
    xs = torch.from_numpy(problem.inputs()).to(DEVICE)
    weights = {k: torch.from_numpy(v).requires_grad_() for k, v in problem.weights().items()}
    copied = _params_of(weights, problem)
    params = list(rnn.parameters())
    with torch.no_grad():
        for param, value in zip(params, copied, strict=True):
            param.copy_(value)

    def forward():
        with torch.no_grad():
            ys, _ = rnn(xs)
        _wait()
        return ys

    def train():
        rnn.zero_grad()
        _, last = rnn(xs)
        loss = (last[0] if problem.cell == "lstm" else last).square().mean()
        loss.backward()
        _wait()
        return loss

    if problem.work == "train":
        values = {"loss": train().detach().cpu().numpy()}
        grads = [param.grad.cpu() for param in params]
        pulled = torch.autograd.grad(copied, list(weights.values()), grads)
        values |= {f"d_{k}": d.numpy() for k, d in zip(weights, pulled, strict=True)}
    else:
        values = {"ys": forward().cpu().numpy()}
    memory = torch.cuda.max_memory_allocated() / 1e6 if DEVICE.type == "cuda" else None
    facts = {"lower_ms": None, "compile_ms": None, "peak_memory_mb": memory, "differs": None}
    return Prepared(train if problem.work == "train" else forward, values, facts)


def _params_of(weights, problem):
    b_h = torch.zeros_like(weights["b"])
    if problem.cell == "gru":
        b_h = torch.cat([b_h[problem.H :], weights["b_h"]])
    return [weights["w_x"].T, weights["w_h"].T, weights["b"] + 0, b_h + 0 * weights["b"]]


class Classifier(nn.Module):
    """The network of the job."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.project = nn.Linear(sizes.input_size, sizes.hidden_size)
        self.rnn = nn.LSTM(sizes.hidden_size, sizes.hidden_size, batch_first=True)
        self.output = nn.Linear(sizes.hidden_size, sizes.classes)

    def forward(self, images):
        """Compute logits [B, C] of images [B, T, D]."""
        return self.output(self.rnn(self.project(images))[0][:, -1])


def job(sizes: Sizes, devices: int):
    """Build the training loop of the job with fused Adam, the fastest; `devices` is 1."""
    model = Classifier(sizes).to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), sizes.learning_rate, fused=True)

    def train(images, labels, indices):
        for batch in indices:
            optimizer.zero_grad()
            logits = model(torch.from_numpy(images[batch]).to(DEVICE))
            targets = torch.from_numpy(labels[batch].astype(np.int64)).to(DEVICE)
            loss = nn.functional.cross_entropy(logits, targets)
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    return train
