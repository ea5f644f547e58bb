"""A scan as one Pallas kernel: all steps of a batch tile run without leaving the chip.

`fused_scan` matches `jax.lax.scan` over `step`; one kernel body serves GPUs (Triton) and TPUs
(Mosaic), and runs in Pallas's interpreter on CPUs. Each program of the grid handles a tile of the
batch. On a GPU, it loops over all steps. On a TPU, the grid has a second, sequential axis of chunks
of steps, and the state stays in scratch memory between them.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from rnn_jax.drivers.kernel_operands import ROWS, Fixed, Sequence, State, padded, time_block
from rnn_jax.drivers.tiled_evaluation import evaluate
from rnn_jax.drivers.tiles import whole

Platform = Literal["cpu", "gpu", "tpu"]

CHUNK = 16
"""Steps in a chunk on a TPU. The inputs of a chunk are in memory at once."""


def fused_scan(
    step: Callable[[Any, Any, Any], Any],
    constants: Any,
    start: Any,
    xs: Any,
    *,
    width: int,
    platform: Platform,
    reverse: bool = False,
) -> Any:
    """Run `state = step(constants, state, x)` and return the state after each step.

    Args:
      step: a function of pytrees of arrays [B, ...]; the arrays of the state are [B, W].
      constants: arrays with at most two axes.
      start: the state before the first step.
      xs: a pytree of arrays [T, B] or [T, B, W].
      width: the width of a tile; arrays whose width is a multiple of it are divided into tiles.
      platform: the platform to compile for.
      reverse: run from the last step to the first.

    Returns:
      The states [T, B, W], in the order of xs.
    """
    steps, batch = jax.tree.leaves(xs)[0].shape[:2]
    chunk = min(CHUNK, steps) if platform == "tpu" else steps
    xs = jax.tree.map(lambda x: padded(padded(x, 1, ROWS), 0, chunk), xs)
    start = jax.tree.map(lambda leaf: padded(leaf, 0, ROWS), start)
    states, structure = jax.tree.flatten(start)
    arguments = (
        jax.tree.map(lambda leaf: Fixed(leaf, width), constants),
        jax.tree.unflatten(structure, [State(leaf, n) for n, leaf in enumerate(states)]),
        jax.tree.map(lambda x: Sequence(x, width, chunk), xs),
    )
    traced = jax.make_jaxpr(step)(*jax.tree.map(lambda argument: argument.tile, arguments))
    arguments = jax.tree.leaves(arguments)
    fixed = [Fixed(jnp.asarray(array), width) for array in traced.consts]
    used = _used(traced.jaxpr)
    operands = [*fixed, *(a for a, use in zip(arguments, used, strict=True) if use)]
    operands += [a for a in arguments if isinstance(a, State) and a not in operands]

    parts = -(-steps // chunk)
    last = parts - 1 if reverse else None
    shapes = [(parts * chunk, *leaf.shape) for leaf in states]
    dtypes = [leaf.dtype for leaf in states]

    def kernel(*refs):
        inputs, others = refs[: len(operands)], refs[len(operands) :]
        outputs, scratch = others[: len(states)], others[len(states) :]
        ref_of = dict(zip(operands, inputs, strict=True))
        first = [ref_of[a] for a in arguments if isinstance(a, State)]
        part = pl.program_id(1) if scratch else 0
        part = part if last is None else last - part
        if scratch:

            @pl.when(pl.program_id(1) == 0)
            def _():
                for to, ref in zip(scratch, first, strict=True):
                    to[...] = ref[...]

        def body(n, state):
            k = chunk - 1 - n if reverse else n
            values = [a.read(ref_of[a], k, state) if a in ref_of else None for a in arguments]
            captured = [constant.read(ref_of[constant], k, state) for constant in fixed]
            new = evaluate(traced, values, captured, joins=platform != "gpu")
            new = [jnp.broadcast_to(whole(v), s.shape) for v, s in zip(new, state, strict=True)]
            if steps < parts * chunk:
                counts = part * chunk + k < steps
                new = [jnp.where(counts, v, s) for v, s in zip(new, state, strict=True)]
            for output, leaf in zip(outputs, new, strict=True):
                output[k] = leaf
            return tuple(new)

        state = tuple(ref[...] for ref in scratch or first)
        state = jax.lax.fori_loop(0, chunk, body, state)
        for to, leaf in zip(scratch, state, strict=False):
            to[...] = leaf

    results = pl.pallas_call(
        kernel,
        grid=(-(-batch // ROWS), parts) if platform == "tpu" else (-(-batch // ROWS),),
        in_specs=[operand.spec(last) for operand in operands],
        out_specs=[time_block((chunk, ROWS, shape[2]), last) for shape in shapes],
        out_shape=[jax.ShapeDtypeStruct(*pair) for pair in zip(shapes, dtypes, strict=True)],
        **_options(platform, [(ROWS, shape[2]) for shape in shapes], dtypes),
    )(*(operand.array for operand in operands))
    return jax.tree.unflatten(structure, [array[:steps, :batch] for array in results])


def _options(platform, shapes, dtypes) -> dict[str, Any]:
    """The options of `pallas_call` for a platform."""
    if platform == "cpu":
        return {"interpret": True}
    if platform == "gpu":
        from jax.experimental.pallas import triton

        return {"compiler_params": triton.CompilerParams(num_warps=4, num_stages=1)}
    from jax.experimental.pallas import tpu

    scratch = [tpu.VMEM(*pair) for pair in zip(shapes, dtypes, strict=True)]
    semantics = tpu.CompilerParams(dimension_semantics=("parallel", "arbitrary"))
    return {"scratch_shapes": scratch, "compiler_params": semantics}


def _used(jaxpr):
    """For each argument, whether an operation reads it."""
    read = {id(atom) for equation in jaxpr.eqns for atom in equation.invars}
    read |= {id(atom) for atom in jaxpr.outvars}
    return [id(variable) in read for variable in jaxpr.invars]
