"""How a command starts and how it ends; nothing here imports JAX, so `--help` is immediate."""

import math
import os
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn, TypeVar

import tyro

from rnn_jax.errors import InputError, RunError, Stopped

Config = TypeVar("Config")


def run(main: Callable[[Config], object], config_type: type[Config]) -> NoReturn:
    """Read a config dataclass from the command line, run `main` on it, and exit.

    Exit codes: 0, done; 1, the run cannot go on, and 2, the user gave something that cannot be used
    (one line on standard error says what); 130, interrupted; 143, terminated; 141, whoever read the
    output went away. A warning is one line too.
    """
    name = os.path.basename(sys.argv[0])
    warnings.formatwarning = lambda message, *_, **__: f"{name}: warning: {message}\n"
    try:
        try:
            main(tyro.cli(config_type))
        finally:
            sys.stdout.flush()
    except InputError as error:
        _fail(f"{name}: {error}", 2)
    except RunError as error:
        _fail(f"{name}: {error}", 1)
    except Stopped as stopped:
        _fail(f"{name}: {stopped}", 128 + stopped.signal)
    except KeyboardInterrupt:
        _fail(f"\n{name}: interrupted; what was written so far is kept.", 130)
    except BrokenPipeError:
        # Python flushes standard output once more as it exits, and would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    sys.exit(0)


def _fail(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr, flush=True)
    jax = sys.modules.get("jax")
    if jax and jax.distributed.is_initialized():
        os._exit(code)  # The usual way out waits for the other processes, for minutes if one died.
    sys.exit(code)


def check_at_least(config: object, **lowest: float) -> None:
    """Raise InputError, naming the flag, unless each field of `config` is at least its bound."""
    for field, bound in lowest.items():
        value = getattr(config, field)
        if not value >= bound:
            raise InputError(f"--{field.replace('_', '-')} must be at least {bound}, got {value}.")


def check_at_most(config: object, **highest: float) -> None:
    """Raise InputError, naming the flag, unless each field of `config` is at most its bound."""
    for field, bound in highest.items():
        value = getattr(config, field)
        if not value <= bound:
            raise InputError(f"--{field.replace('_', '-')} must be at most {bound:,}, got {value}.")


def check_finite(config: object, *fields: str) -> None:
    """Raise InputError, naming the flag, unless each field of `config` is finite."""
    for field in fields:
        value = getattr(config, field)
        if not math.isfinite(value):
            raise InputError(f"--{field.replace('_', '-')} must be finite, got {value}.")


def check_positive(config: object, *fields: str) -> None:
    """Raise InputError, naming the flag, unless each field of `config` is finite and above 0."""
    for field in fields:
        value = getattr(config, field)
        if not 0 < value < float("inf"):
            raise InputError(f"--{field.replace('_', '-')} must be above 0, got {value}.")
