"""Command lines: options, configuration, output, signals and exit codes."""
