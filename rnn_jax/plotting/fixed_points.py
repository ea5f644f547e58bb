"""Figure of the fixed points of a network, in the principal components of its states."""

import numpy as np
from matplotlib.figure import Figure

from rnn_jax.analysis.fixed_points import FixedPoints
from rnn_jax.cells.array_ops import join_fields
from rnn_jax.plotting.style import (
    BLUE,
    GREEN,
    LINE,
    MUTED,
    PURPLE,
    VERMILLION,
    house_style,
    name_axes,
    new_figure,
)

KINDS = (
    ("stable", BLUE, 60),
    ("1 unstable direction", VERMILLION, 36),
    ("2 unstable directions", GREEN, 30),
    ("3 or more", PURPLE, 30),
)
"""Name, color and size of a point by its number of unstable directions."""


def fixed_point_figure(states: np.ndarray, points: FixedPoints, title: str) -> Figure:
    """Plot trajectories and fixed points in three principal components, and the eigenvalues.

    A line through a point with one unstable direction shows that direction.

    Args:
      states: the carries of some trajectories, with concatenated fields, [N, T, n].
      points: fixed points of the same network.
      title: the title.
    """
    center = states.mean((0, 1))
    _, _, axes_of = np.linalg.svd(
        states.reshape(-1, states.shape[-1]) - center, full_matrices=False
    )
    components = axes_of[:3].T
    places = (np.asarray(join_fields(points.carry)) - center) @ components
    kinds = np.minimum(points.unstable_dimensions, len(KINDS) - 1)
    with house_style():
        figure = new_figure(4.4, title)
        space = figure.add_axes((0.0, 0.1, 0.56, 0.76), projection="3d")
        for trajectory in (states - center) @ components:
            space.plot(*trajectory.T, color=LINE, lw=0.6, zorder=0)
        reach = 0.12 * np.abs((states - center) @ components).max()
        for place, kind, directions in zip(places, kinds, points.directions, strict=True):
            if kind == 1:
                along = directions[0].real @ components
                ends = np.outer([-reach, reach], along / max(np.linalg.norm(along), 1e-9))
                space.plot(*(place + ends).T, color=VERMILLION, lw=1.5)
        plane = figure.add_axes((0.66, 0.2, 0.31, 0.6))
        angles = np.linspace(0, 2 * np.pi, 200)
        plane.plot(np.cos(angles), np.sin(angles), color=MUTED, lw=0.8)
        for number, (name, color, size) in enumerate(KINDS):
            chosen = kinds == number
            if chosen.any():
                label = f"{name}: {chosen.sum()}"
                space.scatter(*places[chosen].T, color=color, s=size, label=label, depthshade=False)
                values = points.eigenvalues[chosen].ravel()
                plane.scatter(np.real(values), np.imag(values), color=color, s=5)
        space.set(xlabel="PC 1", ylabel="PC 2", zlabel="PC 3")
        space.tick_params(labelsize=7)
        plane.set_aspect("equal")
        name_axes(plane, "real part", "eigenvalues: imaginary part")
        figure.legend(loc="lower left", bbox_to_anchor=(0.05, 0.0), ncols=4, frameon=False)
    return figure
