"""Sphinx configuration of the documentation."""

import itertools
import os
import re
from collections import _tuplegetter

import rnn_jax

project = "rnn_jax"
author = "the rnn_jax authors"
version = release = rnn_jax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
html_theme = "furo"
html_title = "rnn_jax"
html_theme_options = {"source_directory": "docs/"}
exclude_patterns = ["_build", "README.md", "jupyter_execute"]

# The tutorials train networks, so they run only on request: RUN_TUTORIALS=1.
nb_execution_mode = "force" if os.environ.get("RUN_TUTORIALS") else "off"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

default_role = "code"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Reference", "References")]
python_use_unqualified_type_names = True


def _as_restructured_text(app, what, name, obj, options, lines):
    """Translate what docstrings mean but reStructuredText reads otherwise.

    Equations, indented by four or more, become literal blocks. `name: text` lines with a hanging
    indent become a list. Characters that would start emphasis or a substitution are escaped.
    """
    # Napoleon takes what precedes a colon in the first line of a constant for its type.
    result, literal = [""] if what in ("data", "attribute") else [], False
    for paragraph in _paragraphs(lines):
        indents = [len(line) - len(line.lstrip()) for line in paragraph]
        if min(indents) >= 4:
            result += [*([] if literal else ["::", ""]), *paragraph, ""]
            literal = True
            continue
        literal = False
        if NAME.match(paragraph[0]) and max(indents) == 2:
            paragraph = [f"- {line}" if NAME.match(line) else line for line in paragraph]
            if any(line[:2] not in ("- ", "  ") for line in paragraph):
                paragraph = [line.removeprefix("- ").strip() for line in paragraph]
        result += [*map(_escaped, paragraph), ""]
    lines[:] = result


NAME = re.compile(r"\w[\w, ]*: \S")


def _paragraphs(lines):
    """The groups of lines between blank lines."""
    groups = itertools.groupby(lines, key=lambda line: bool(line.strip()))
    return [list(group) for full, group in groups if full]


def _escaped(line):
    """The line with markup characters escaped outside of backticks."""
    parts = line.split("`")
    parts[::2] = [re.sub(r"[*|]|_(?=\W|$)", r"\\\g<0>", part) for part in parts[::2]]
    return "`".join(parts)


def _short_types(app, what, name, obj, options, signature, returns):
    """Shorten the names of array types in signatures."""
    return tuple(part and part.replace("jaxlib._jax.", "") for part in (signature, returns))


def _skip_tuple_fields(app, what, name, obj, skip, options):
    """Leave out the fields of named tuples: their class describes them."""
    return True if isinstance(obj, _tuplegetter) else None


def setup(app):
    """Register the hooks above, this one before napoleon reads the docstrings."""
    app.connect("autodoc-process-docstring", _as_restructured_text, priority=100)
    app.connect("autodoc-process-signature", _short_types)
    app.connect("autodoc-skip-member", _skip_tuple_fields)
