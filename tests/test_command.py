"""Start and end of a command: broken output, signals, external errors."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest
from repository import ROOT

HEAD = """
import dataclasses, os, pathlib, signal, sys, time
from rnn_jax.training.commands.cli import run

@dataclasses.dataclass
class Config:
    pass
"""


def command(tmp_path, body, shell="exec {}", head=HEAD, **options):
    """Start a command whose `main` has the given body, by a line of bash."""
    script = tmp_path / "command.py"
    text = head + "def main(config):\n" + textwrap.indent(textwrap.dedent(body), "    ")
    script.write_text(f"{text}\nrun(main, Config)\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | options.pop("env", {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    line = shell.format(f"{sys.executable} {script.name}")
    return subprocess.Popen(
        ["bash", "-c", line], cwd=tmp_path, env=environment, **(pipes | options)
    )


PRINTS = """
for number in range(1000):
    print("a line of output", number, flush=True)
    print("a line of errors", file=sys.stderr, flush=True)
from tqdm import tqdm
for _ in tqdm(range(3)):
    tqdm.write("a line beside the bar")
pathlib.Path("done").write_text("all")
"""


@pytest.mark.parametrize(
    "redirection, code",
    [
        (">&-", 0),
        ("2>&-", 0),
        (">&- 2>&- <&-", 0),
        (">/dev/full", 1),
        ("2>/dev/full", 1),
        (">/dev/full 2>&1", 1),
        ("| true", 141),
        ("2>&1 | true", 141),
        ("2>&1 >/dev/null | true", 141),
    ],
)
def test_a_command_without_output_runs_to_its_end(tmp_path, redirection, code):
    process = command(tmp_path, PRINTS, shell=f"set -o pipefail; {{}} {redirection}")
    _, errors = process.communicate()
    assert process.returncode == code
    assert "Traceback" not in errors
    assert (tmp_path / "done").read_text() == "all"


def test_files_do_not_reuse_the_descriptor_of_a_closed_stream(tmp_path):
    body = """
    with open("data", "wb") as file:
        os.write(1, b"output of a C library")
        assert file.fileno() > 2
    """
    process = command(tmp_path, body, shell="exec {} >&-")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert (tmp_path / "data").read_bytes() == b""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
@pytest.mark.parametrize("swallowed", [False, True])
def test_each_signal_has_one_sentence_and_its_exit_code(tmp_path, name, swallowed):
    body = """
    print("ready", flush=True)
    try:
        time.sleep(60)
    except BaseException as error:
        raise ImportError("initialization failed") from error if %s else error
    """
    process = command(tmp_path, body % swallowed)
    process.stdout.readline()
    process.send_signal(signal.Signals[name])
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.Signals[name]
    said = "interrupted." if name == "SIGINT" else f"stopped by {name}."
    assert errors == f"command.py: {said}\n"


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_a_signal_ignored_at_the_start_stays_ignored(tmp_path, name):
    body = f"""
    os.kill(os.getpid(), signal.{name})
    print("went on")
    """
    process = command(tmp_path, body, shell=f"trap '' {name}; exec {{}}")
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, "went on\n")


def test_an_interrupt_does_not_wait_for_the_compiler(tmp_path):
    body = """
    import jax
    from rnn_jax.training.intervals import compile_timed
    class Slow:
        def lower(self):
            return self
        def compile(self):
            print("compiling", flush=True)
            time.sleep(60)
    compile_timed(Slow())
    """
    process = command(tmp_path, body)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "command.py: interrupted.\n")


@pytest.mark.parametrize(
    "body, code, words",
    [
        ("raise MemoryError", 1, "out of memory (MemoryError)"),
        ("main(config)", 1, "nested too deeply"),
        ("raise RuntimeError('RESOURCE_EXHAUSTED: 9 TB')", 1, "out of memory (RESOURCE_EXHAUSTED"),
        ("raise RuntimeError('Could not determine home directory.')", 2, "variable HOME"),
        ("raise ValueError('a fault')", 1, "Traceback"),
    ],
)
def test_an_external_error_is_one_sentence(tmp_path, body, code, words):
    process = command(tmp_path, body)
    _, errors = process.communicate()
    assert process.returncode == code
    assert words in errors
    assert (len(errors.splitlines()) == 1) == (words != "Traceback")


@pytest.mark.parametrize(
    "variables, words",
    [
        ({"JAX_PLATFORMS": "cuda"}, "JAX_PLATFORMS='cuda'"),
        ({"JAX_PLATFORMS": "nonsense"}, "JAX_PLATFORMS='nonsense'"),
        ({"JAX_ENABLE_X64": "perhaps"}, "JAX_* environment variable"),
        ({"JAX_NUM_CPU_DEVICES": "two"}, "JAX_* environment variable"),
    ],
)
def test_a_variable_that_jax_cannot_use_is_one_sentence(tmp_path, variables, words):
    process = command(tmp_path, "import jax; jax.devices()", env=variables)
    _, errors = process.communicate()
    assert process.returncode == 2
    assert words in errors.splitlines()[-1]
    assert "Traceback" not in errors


def test_a_character_unsupported_by_the_terminal_is_escaped(tmp_path):
    process = command(tmp_path, "print('é 文')", env={"PYTHONIOENCODING": "ascii"})
    assert process.communicate() == ("\\xe9 \\u6587\n", "")
    assert process.returncode == 0


def test_a_message_shows_no_control_characters(tmp_path):
    body = "from rnn_jax.errors import InputError; raise InputError('\\x1b[31m')"
    process = command(tmp_path, body)
    assert process.communicate()[1] == "command.py: \\x1b[31m\n"


def test_an_error_of_the_library_names_the_flags_of_the_command(tmp_path):
    body = """
    from rnn_jax.errors import InputError
    raise InputError("give another `out_dir` or `resume=True`, not `other` or `out_dir()`")
    """
    fields = "class Config:\n    out_dir: str = ''\n    resume: bool = False\n"
    process = command(tmp_path, body, head=HEAD.replace("class Config:\n    pass\n", fields))
    said = "give another --out-dir or --resume, not `other` or `out_dir()`"
    assert process.communicate()[1] == f"command.py: {said}\n"


def test_the_backend_of_a_notebook_is_not_used_for_figures(tmp_path):
    body = "import matplotlib.pyplot; print(matplotlib.get_backend().lower())"
    process = command(tmp_path, body, env={"MPLBACKEND": "module://none.such"})
    assert process.communicate() == ("agg\n", "")


@pytest.mark.parametrize(
    "variables",
    [
        {"JAX_ENABLE_X64": "1", "JAX_DEFAULT_PRNG_IMPL": "rbg"},
        {"JAX_DEBUG_NANS": "1", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
        {"JAX_DISABLE_JIT": "1"},
    ],
)
def test_an_experiment_runs_under_the_environment_variables_of_jax(tmp_path, variables):
    small = [
        "--hidden-size",
        "4",
        "--batch-size",
        "8",
        "--windows",
        "4",
        "--window",
        "5",
        "--steps",
        "4",
        "--log-every",
        "2",
    ]
    done = subprocess.run(
        [sys.executable, str(ROOT / "experiments/sine_regression.py"), *small],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    if "JAX_DISABLE_JIT" in variables:
        assert done.returncode == 2
        assert done.stderr.endswith("JAX_DISABLE_JIT forbids that; unset it.\n")
    else:
        assert done.returncode == 0, done.stderr
        assert "device   2 x cpu" in done.stdout or "XLA_FLAGS" not in variables
