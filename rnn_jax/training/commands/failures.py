"""Exceptions of JAX, Python and the system whose cause is outside the program."""

import os
import traceback

from rnn_jax.errors import InputError, RunError

NO_HOME = "Could not determine home directory"


def explained(error: BaseException) -> InputError | RunError | None:
    """The error as an InputError or RunError; None if it is a bug in the program."""
    if isinstance(error, InputError | RunError):
        return error
    reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    reason = reason[:300].rstrip(".")
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return RunError(f"out of memory ({reason}); use smaller sizes or a smaller batch.")
    if isinstance(error, RecursionError):
        return RunError(f"the input is nested too deeply ({reason}).")
    if isinstance(error, RuntimeError) and NO_HOME in str(error):
        return InputError("the home folder is unknown; set the environment variable HOME.")
    files = [
        frame.filename.replace(os.sep, "/") for frame in traceback.extract_tb(error.__traceback__)
    ]
    if any(name.endswith("jax/_src/xla_bridge.py") for name in files) and isinstance(
        error, RuntimeError | AssertionError
    ):
        named = os.environ.get("JAX_PLATFORMS", "")
        return InputError(
            f"JAX finds no device with JAX_PLATFORMS={named!r} ({reason}); unset JAX_PLATFORMS, "
            "or set it to cpu."
        )
    if any("jax/_src/config.py" in name for name in files) and isinstance(
        error, ValueError | AttributeError | TypeError
    ):
        return InputError(f"a JAX_* environment variable has a value that is not valid: {reason}.")
    return None
