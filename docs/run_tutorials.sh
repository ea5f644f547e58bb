#!/usr/bin/env bash
# Build the documentation with the tutorials executed; a warning or a failing cell is an error.
# Usage: docs/run_tutorials.sh [PYTHON]    PYTHON: an interpreter with '.[docs]', .venv/bin/python by default
set -euo pipefail
cd "$(dirname "$0")/.."
export RUN_TUTORIALS=1 JAX_PLATFORMS=cpu
"${1:-.venv/bin/python}" -m sphinx -q -W --keep-going -E docs docs/_build/html
echo "docs/_build/html/index.html"
