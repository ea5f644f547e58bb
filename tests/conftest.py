"""Fixtures of all tests: checked shapes, eight devices, float64 and a count of compilations."""

import gc
import os
import signal
import tempfile
from pathlib import Path

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Shared by all workers and their child processes; deleted with the first test process.
    compiled = tempfile.TemporaryDirectory(prefix="rnn_jax_compiled_")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import jax
import jaxtyping
import pytest
from hypothesis import HealthCheck, settings
from slow import mark_slow

pytest_plugins = ["image_sets"]

jaxtyping.install_import_hook(
    "rnn_jax", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)
# A shell that runs the tests in the background ignores SIGINT, and nohup SIGHUP, here and in child
# processes.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
jax.config.update("jax_num_cpu_devices", 8)
# Compiles in less than half of the time; the tests check values, not speed.
FAST_COMPILATION = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
if jax.__version_info__ < (0, 11):
    FAST_COMPILATION += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", FAST_COMPILATION)
os.environ["KERAS_BACKEND"] = "jax"
# Start JAX now: the first tested command would start it with one device per core.
assert len(jax.devices()) == 8
settings.register_profile(
    "rnn_jax",
    deadline=None,
    derandomize=True,
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("rnn_jax")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    mark_slow(items)


MAPS = Path("/proc/self/maps")
MOST_MAPS = 20_000
"""Linux allows a process 65,530 memory maps, and every compiled function takes some."""


@pytest.fixture(scope="module", autouse=True)
def bounded_memory_maps():
    """Drop compiled functions after a module, before the process runs out of memory maps."""
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def float64():
    """64-bit arrays for one test; all other tests run in 32 bits, as users do."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def unchecked():
    """No shape checks for one test, as for users."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def compilations():
    """A list that grows by one with each compilation by XLA."""
    from rnn_jax.testing import oracle  # Only now: the import hook comes first.

    with oracle.compilations() as seen:
        yield seen
