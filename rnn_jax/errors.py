"""The one exception that stands for a mistake in what the user gave."""


class InputError(ValueError):
    """What was given cannot be used; the message says what was expected, what came, and what to do.

    Every command turns it into one line on standard error and exit code 2. Any other exception is a
    fault of the program and keeps its stack trace.
    """
