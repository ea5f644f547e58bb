"""Lyapunov spectrum of a GRU in PyTorch, with dense Jacobians and a QR at every step."""

import torch

from peers.problem import Prepared, Problem, Unsupported


def spectrum(problem: Problem) -> Prepared:
    """Prepare all exponents of each example, with a hand-written Jacobian of a step."""
    if problem.cell != "gru":
        raise Unsupported("its Jacobian is written out for the GRU only")
    weights = {name: torch.from_numpy(value) for name, value in problem.weights().items()}
    xs = torch.from_numpy(problem.inputs())
    of_r, of_z, of_n = (w.T for w in weights["w_h"].chunk(3, -1))

    def step(h, x):
        """Compute the next h [B, H] and its Jacobian ∂h'[i]/∂h[j] [B, i, j]."""
        x_r, x_z, x_n = (x @ weights["w_x"] + weights["b"]).chunk(3, -1)
        h_r, h_z, h_n = (h @ weights["w_h"]).chunk(3, -1)
        h_n = h_n + weights["b_h"]
        r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        n = torch.tanh(x_n + r * h_n)
        d_n = (1 - z) * (1 - n**2)
        jacobian = torch.diag_embed(z)
        for slope, w in (
            (d_n * h_n * r * (1 - r), of_r),
            ((h - n) * z * (1 - z), of_z),
            (d_n * r, of_n),
        ):
            jacobian = jacobian + slope[..., None] * w
        return (1 - z) * n + z * h, jacobian

    @torch.no_grad()
    def exponents():
        h = torch.zeros(problem.B, problem.H)
        basis = torch.eye(problem.H).expand(problem.B, -1, -1)
        total = torch.zeros(problem.B, problem.H)
        for x in xs:
            h, jacobian = step(h, x)
            basis, upper = torch.linalg.qr(jacobian @ basis)
            total += upper.diagonal(dim1=-2, dim2=-1).abs().log()
        return (total / problem.T).sort(descending=True).values

    facts = {"lower_ms": None, "compile_ms": None, "peak_memory_mb": None, "differs": None}
    return Prepared(exponents, {"sum": exponents().sum(-1).numpy()}, facts)
