"""Running a command: options, errors and exit codes. JAX is not imported, so `--help` is fast."""

import dataclasses
import os
import re
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from rnn_jax.errors import InputError, Stopped
from rnn_jax.files import printable
from rnn_jax.training.commands.failures import explained
from rnn_jax.training.commands.output import failure, fill_standard_descriptors, guarded
from rnn_jax.training.commands.ranges import flag as as_flag
from rnn_jax.training.commands.signals import described, exceptions

Config = TypeVar("Config")


def run(
    main: Callable[[Config], object], config_type: type[Config], *, only_prints: bool = False
) -> NoReturn:
    """Parse a config dataclass from the command line, call `main` with it, and exit.

    Exit codes: 0, success; 1, the run cannot continue; 2, invalid input (1 and 2 with one line on
    standard error); 128 + n, stopped by signal n: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP,
    138 for SIGUSR1; 141, the output pipe was closed. A warning is one line on standard error.

    Args:
      main: the command.
      config_type: the dataclass of its options.
      only_prints: stop at the first error of standard output. Otherwise the command continues
        without output, and ends with exit code 1 or 141.
    """
    name = printable(os.path.basename(sys.argv[0]))
    warnings.formatwarning = lambda message, *_, **__: f"{name}: warning: {message}\n"
    os.environ["MPLBACKEND"] = "agg"  # The environment may set the backend of a notebook.
    fill_standard_descriptors()
    with exceptions() as request, guarded(raises=only_prints) as streams:
        code, message = _ending(main, config_type, request, streams)
        _say(name, message)
        if not code:
            code, message = failure(*streams)
            _say(name, message)
    _leave(code, bool(request.signal) or code > 128)


def _say(name, message):
    if message:
        if message == described(signal.SIGINT) and sys.stderr.isatty():
            print(file=sys.stderr)  # The terminal has printed ^C.
        message = "\n".join(map(printable, message.splitlines()))
        print(f"{name}: {message}", file=sys.stderr)
        sys.stderr.flush()


def _ending(main, config_type, request, streams):
    """Run a command; return its exit code and a message."""
    try:
        import tyro

        main(tyro.cli(config_type))
        streams[0].flush()
        return 0, ""
    except Stopped as stopped:
        return 128 + stopped.signal, str(stopped)
    except SystemExit as ended:
        if isinstance(ended.code, str):
            return 1, ended.code
        return ended.code or 0, ""
    except BaseException as error:
        # A C extension may turn an interrupt during its import into another error.
        if request.signal or isinstance(error, KeyboardInterrupt):
            number = request.signal or signal.SIGINT
            return 128 + number, described(number)
        if error is streams[0].error:
            return failure(*streams)
        known = explained(error)
        if known is None:
            raise
        code = 2 if isinstance(known, InputError) else 1
        return code, with_flags(str(known), config_type)


def with_flags(message: str, config_type: type) -> str:
    """Replace arguments in an error message of the library with command-line flags.

    The library writes an argument as `name` or `name=value`; a field of `config_type` becomes
    --name or --name value, and `name=True` becomes --name.
    """
    names = {field.name for field in dataclasses.fields(config_type)}

    def flag(match):
        name, value = match[1], match[2]
        if name not in names:
            return match[0]
        return as_flag(name) if value in (None, "True") else f"{as_flag(name)} {value}"

    return re.sub(r"`(\w+)(?:=([\w:.]+))?`", flag, message)


def resume_command(folder: Path) -> str:
    """The command line that resumes the run of this process in `folder`."""
    typed = list(sys.orig_argv)
    if typed[len(typed) - len(sys.argv) + 1 :] != sys.argv[1:]:
        typed = ["python", *sys.argv]
    rest = typed[: len(typed) - len(sys.argv) + 1]
    arguments = iter(sys.argv[1:])
    for argument in arguments:
        flag, equals, _ = argument.replace("_", "-").partition("=")
        if flag == "--out-dir":
            if not equals:
                next(arguments, None)
        elif flag not in ("--resume", "--no-resume"):
            rest.append(argument)
    return shlex.join([*rest, "--out-dir", str(folder), "--resume"])


def _leave(code, at_once) -> NoReturn:
    """Exit, without cleanup if that would wait for other processes or compiler threads."""
    jax: Any = sys.modules.get("jax")
    distributed = jax is not None and jax.distributed.is_initialized()
    if jax is not None and code and distributed and jax.process_index() == 0:
        time.sleep(1)  # The others end with process 0; let them print their messages first.
    if "jax" in sys.modules and (at_once or (code and distributed)):
        os._exit(code)
    sys.exit(code)
