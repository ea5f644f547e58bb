"""Cells by name: an unknown or invalid cell gives one sentence."""

import pytest

from rnn_jax import InputError
from rnn_jax.cells.registry import find_cell

MODULE = """
import rnn_jax

class Whole(rnn_jax.LSTMCell):
    pass

class NoStart(rnn_jax.Cell):
    def init(self, key, input_size): ...
    def step(self, params, carry, x): ...

class NeedsMore(rnn_jax.LSTMCell):
    def __init__(self, hidden_size, depth): ...

class Raises(rnn_jax.LSTMCell):
    def __post_init__(self):
        raise RuntimeError("two\\nlines")

function = print
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "janet.py").write_text(MODULE)
    for name, line in {"syntax": "def", "divides": "1 / 0", "exits": "exit(3)"}.items():
        (tmp_path / f"{name}_janet.py").write_text(line)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("here")
def test_a_cell_of_a_module_in_the_current_folder_is_found():
    assert find_cell("janet:Whole", 3).hidden_size == 3


@pytest.mark.usefixtures("here", "unchecked")
@pytest.mark.parametrize(
    "name, words",
    [
        ("janet.py:Whole", "'janet.py:Whole' names a file; give the module and the class, janet:W"),
        ("./janet.py", "names a file; give the module and the class, janet:MyCell"),
        ("sub/janet:Whole", "give the module and the class, janet:Whole"),
        ("rnn_jax:GatedCell", "GatedCell is incomplete, it does not define gates, update"),
        ("rnn_jax:LinearCell", "LinearCell is incomplete, it does not define gates, coefficients"),
        ("rnn_jax:Cell", "Cell is incomplete, it does not define init, initial_carry, step"),
        ("rnn_jax:unroll", "must be a subclass of rnn_jax.Cell"),
        ("janet:NoStart", "NoStart is incomplete, it does not define initial_carry"),
        ("janet:NeedsMore", "janet:NeedsMore cannot be made with hidden_size=3: TypeError"),
        ("janet:Raises", "cannot be made with hidden_size=3: RuntimeError: two lines"),
        ("janet:function", "must be a subclass of rnn_jax.Cell"),
        ("janet:Absent", "cannot be loaded: AttributeError: module 'janet' has no attribute 'Abse"),
        ("absent_janet:Cell", "cannot be loaded: ModuleNotFoundError: No module named 'absent_j"),
        ("syntax_janet:Cell", "cannot be loaded: SyntaxError"),
        ("divides_janet:Cell", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("exits_janet:Cell", "cannot be loaded: SystemExit: 3"),
        (".janet:Whole", "cannot be loaded: TypeError"),
        ("janet:", "cell must be one of lstm"),
        (":Whole", "cell must be one of lstm"),
        ("", "cell must be one of lstm"),
        (None, "cell must be one of lstm"),
        (["lstm"], "cell must be one of lstm"),
    ],
)
def test_an_unknown_or_invalid_cell_is_one_sentence(name, words):
    with pytest.raises(InputError) as error:
        find_cell(name, 3)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
