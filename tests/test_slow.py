"""The table of slow tests names tests that exist."""

import pytest
from repository import ROOT
from slow import SLOW


@pytest.mark.parametrize("module", SLOW)
def test_each_slow_test_exists(module):
    text = (ROOT / "tests" / f"{module}.py").read_text()
    for name in SLOW[module]:
        assert f"def {name}(" in text, name
