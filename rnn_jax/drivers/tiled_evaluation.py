"""Evaluation of a traced function on arrays and tiles."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Literal

from rnn_jax.drivers.tiles import ELEMENTWISE, MAKING, RULES, Tiles, Value, elementwise, whole
from rnn_jax.errors import InputError

CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "remat": "jaxpr"}
CALLS |= {"checkpoint": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}
"""Names of the primitives that call a function, and the parameter that stores it."""


def evaluate(
    traced: ClosedJaxpr, arguments: list[Value], constants: Sequence[Value], *, joins: bool
) -> list[Value]:
    """Evaluate a traced function on arrays and tiles.

    Operations on tiles without a rule receive the whole array. Values that no result depends on are
    not computed.

    Args:
      traced: the function.
      arguments: an array or `Tiles` for each argument.
      constants: the same for each array that the function captured.
      joins: whether tiles can be joined into arrays.

    Raises:
      InputError: tiles would have to be joined, but cannot be.
    """
    jaxpr = traced.jaxpr
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, constants, strict=True))
    values |= dict(zip(jaxpr.invars, arguments, strict=True))

    def read(atom):
        return atom.val if isinstance(atom, Literal) else values[atom]

    needed = {atom for atom in jaxpr.outvars if not isinstance(atom, Literal)}
    equations = []
    for equation in reversed(jaxpr.eqns):
        if any(variable in needed for variable in equation.outvars):
            equations.append(equation)
            needed |= {atom for atom in equation.invars if not isinstance(atom, Literal)}
    for equation in reversed(equations):
        results = _apply(equation, list(map(read, equation.invars)), joins)
        values |= dict(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation, operands, joins):
    """The results of one operation."""
    name, parameters = equation.primitive.name, equation.params
    if name in CALLS:
        inner = parameters[CALLS[name]]
        inner = inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())
        return evaluate(inner, operands, inner.consts, joins=joins)
    if name == "broadcast_in_dim" and equation.invars[0].aval.shape == ():
        return operands  # A scalar stays a scalar; operations broadcast it.
    on_tiles = any(isinstance(value, Tiles) for value in operands)
    rule = MAKING.get(name)
    if on_tiles and rule is None:
        rule = elementwise if name in ELEMENTWISE else RULES.get(name)
    results = None if rule is None else rule(equation, *operands)
    if results is None and on_tiles and not joins:
        raise InputError(
            f"the fused driver cannot compute {name} of gates on a GPU; split the gates first, or "
            "use driver='auto'."
        )
    return _bind(equation, [whole(value) for value in operands]) if results is None else results


def _bind(equation, operands):
    """The results of an operation on arrays, broadcast to the shapes it was traced with."""
    shapes = [atom.aval.shape for atom in equation.invars]
    operands = [
        jnp.broadcast_to(value, shape) if jnp.shape(value) != shape else value
        for value, shape in zip(operands, shapes, strict=True)
    ]
    parameters = equation.primitive.get_bind_params(equation.params)
    functions, parameters = parameters if isinstance(parameters, tuple) else ((), parameters)
    results = equation.primitive.bind(*functions, *operands, **parameters)
    return list(results) if equation.primitive.multiple_results else [results]
