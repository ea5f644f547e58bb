"""The packages of rnn_jax: imports point one way, and the core needs no experiment dependencies."""

import ast
import sys

import pytest
from repository import ROOT

PACKAGE = ROOT / "rnn_jax"
LAYERS = (
    {"typing", "errors"},
    {"files", "numerics"},
    {"cells"},
    {"initializers"},
    {"wrappers"},
    {"drivers"},
    {"analysis", "interop", "testing"},
    {"layers"},
    {"datasets", "plotting"},
    {"models"},
    {"training"},
)
"""Parts of the package from the bottom up; a part imports itself and what lies below it."""
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
CORE = {part for part, level in LEVEL.items() if level <= LEVEL["layers"]}
CORE_LIBRARIES = {"flax", "jax", "jaxtyping", "lazy_loader", "numpy", "optax"}
PEERS = {"keras", "safetensors", "torch"}
"""Imported inside functions of `interop`, where a user of these libraries has them."""
MODULES = sorted(PACKAGE.rglob("*.py"))


def part(path):
    """The name of the package, or of the flat module, that holds a file."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path):
    """Full names of all imported modules, and of all names imported from modules."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    own = part(path)
    if own == "__init__":
        return
    for name in imported(path):
        library, _, rest = name.partition(".")
        if library == "rnn_jax" and rest:
            other = rest.partition(".")[0]
            below = LEVEL[other] < LEVEL[own] or own in LAYERS[0] | LAYERS[1]
            assert other == own or below, f"{own} imports {other}"


@pytest.mark.parametrize("name", sorted(CORE))
def test_the_core_imports_only_its_own_libraries(name):
    for path in (each for each in MODULES if part(each) == name):
        libraries = {each.partition(".")[0] for each in imported(path)} - {"rnn_jax"}
        allowed = CORE_LIBRARIES | sys.stdlib_module_names | (PEERS if name == "interop" else set())
        assert libraries <= allowed, f"{path} imports {libraries - allowed}"


def test_every_part_has_a_level_and_few_modules_are_flat():
    assert {part(path) for path in MODULES} - {"__init__"} == set(LEVEL)
    assert len([path for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]) <= 5


def test_files_are_short_and_an_experiment_fits_on_two_screens():
    folders = {"rnn_jax": 250, "benchmarks": 250, "experiments": 129}
    for folder, most in folders.items():
        for path in (ROOT / folder).rglob("*.py"):
            lines = len(path.read_text().splitlines())
            assert lines <= most, f"{path} has {lines} lines, at most {most} are allowed"
