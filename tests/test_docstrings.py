"""Docstrings are imperative sentences or noun phrases."""

import ast
import re

import pytest
from repository import ROOT

OPENINGS = re.compile(r"(What|How|Where|Which|Who|When|Whether|All that)\b")
FOLDERS = ("rnn_jax", "experiments", "benchmarks")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def docstrings(path):
    """Line and text of each string that is a statement; those of attributes count too."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text.strip()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_docstring_opens_with_a_question_word(path):
    found = [f"line {line}: {text}" for line, text in docstrings(path) if OPENINGS.match(text)]
    assert not found, "\n".join(found)
