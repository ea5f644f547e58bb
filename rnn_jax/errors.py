"""Exceptions with a message for the user. Any other exception is a bug."""

import importlib.util
import inspect
import numbers


class InputError(ValueError):
    """An argument or input cannot be used. The message says what was expected, and what to do.

    Every command turns it into one line on standard error and exit code 2.
    """


class RunError(RuntimeError):
    """A run cannot continue although its inputs are valid: a full disk, values that are not finite.

    The message says what happened and what to do. Every command turns it into one line on standard
    error and exit code 1.
    """


class Stopped(KeyboardInterrupt):
    """A signal ended a run at a point where it can be resumed; the message says how.

    Attributes:
      signal: the number of the signal; a command exits with code 128 + signal.
    """

    def __init__(self, signal: int, message: str):
        super().__init__(message)
        self.signal = signal


def check_hashable(owner: str, name: str, value: object) -> None:
    """Raise InputError unless `value`, an option of a static object, can be hashed."""
    try:
        hash(value)
    except TypeError as error:
        raise InputError(
            f"{name} of {owner} must be hashable, as cells are static under jax.jit; got "
            f"{type(value).__name__} {value!r}. Use a number, a string or a tuple."
        ) from error


def check_fields(cls: type) -> None:
    """Raise InputError if a new field of a dataclass has the name of an inherited method."""
    inherited = getattr(cls, "__dataclass_fields__", {})
    for name in cls.__annotations__.keys() - inherited:
        if any(inspect.isfunction(vars(base).get(name)) for base in cls.__mro__[1:]):
            raise InputError(
                f"the field {name} of {cls.__name__} hides the method {name}; rename it."
            )


def check_array_init(name: str, init: object) -> None:
    """Raise InputError, naming the initializer, unless it is a function."""
    if not callable(init):
        raise InputError(
            f"{name} must be a function (key, shape, dtype) -> array such as "
            f"jax.nn.initializers.normal(0.1), got {init!r}."
        )


def check_size(name: str, size: object, least: int = 1) -> None:
    """Raise InputError, naming the size, unless it is an integer of at least 0 or 1."""
    if isinstance(size, bool) or not isinstance(size, numbers.Integral) or size < least:
        kind = "a positive integer" if least else "0 or a positive integer"
        raise InputError(f"{name} must be {kind}, got {size!r}.")


def check_extra(subject: str, package: str, extra: str) -> None:
    """Raise InputError, naming the extra to install, unless a package is installed."""
    if importlib.util.find_spec(package) is None:
        raise InputError(
            f"{subject} needs the package {package}; install it with pip install -e '.[{extra}]'."
        )
