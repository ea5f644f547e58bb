"""One implementation in a separate process, controlled over a pipe; it sleeps while others run.

Each library has its own interpreter, devices and threads, as in normal use. `Worker` is the client.
The server process reads one JSON request per line and answers with one JSON line: `start` (import
the library), `build` (compile a layer), `turn` (time it), `matmul`, `job`, `steps`. It needs only
NumPy and its library.
"""

import importlib
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import traceback

import numpy as np
import timing
from peers import PEERS
from peers.problem import Problem, Sizes, Unsupported

JAX_PLATFORMS = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}
FORCED = "xla_force_host_platform_device_count"


class Absent(Exception):
    """An implementation is not available; the message is a phrase with the reason.

    Attributes:
      trace: stack trace of the process, if it failed.
    """

    def __init__(self, message: str, trace: str | None = None):
        super().__init__(message)
        self.trace = trace


class Worker:
    """A process of one implementation.

    Args:
      name: a name in PEERS, or "rnn_jax".
      device: cpu, gpu or tpu.
      python: its Python interpreter.
      devices: number of CPU devices of JAX.
    """

    def __init__(self, name: str, device: str, python: str = sys.executable, devices: int = 1):
        environment = os.environ | {"BENCHMARK_DEVICE": device}
        environment["JAX_PLATFORMS"] = JAX_PLATFORMS[device]
        # The processes share the GPU, so none may preallocate most of its memory.
        environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                [python, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment,
                text=True,
            )
        except OSError as error:
            self._process, self._failed = None, f"{python} cannot be started ({error.strerror})"
        self.send(do="start", name=name, devices=devices)

    def send(self, **request) -> None:
        """Send a request; `receive` waits for its answer."""
        if self._process:
            try:
                self._process.stdin.write(json.dumps(request) + "\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                pass  # `receive` raises the error.

    def receive(self) -> dict:
        """Wait for the answer to the oldest open request.

        Raises:
          Absent: the library is not installed, does not have the cell, or failed.
          InputError: an option is invalid.
        """
        if self._process is None:
            raise Absent(self._failed)
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            last = self._errors.read().strip().splitlines()[-1:] or ["no message"]
            raise Absent(f"its process ended with code {self._process.wait()}: {last[0]}")
        answer = json.loads(line)
        if "mistake" in answer:
            from rnn_jax.errors import InputError

            raise InputError(answer["mistake"])
        if "failed" in answer:
            reason = answer["failed"].strip().splitlines()[:1] or [""]
            raise Absent(f"failed: {answer['kind']}: {reason[0]}", answer["trace"])
        if "absent" in answer:
            raise Absent(answer["absent"])
        return answer

    def ask(self, **request) -> dict:
        """Send a request and wait for its answer."""
        self.send(**request)
        return self.receive()

    def close(self) -> None:
        """End the process."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
        self._errors.close()


class Server:
    """The server: one method for each request."""

    def __init__(self):
        self.calls = {}

    def start(self, name, devices):
        """Import the library; return its version and number of devices."""
        if devices != 1 and FORCED not in os.environ.get("XLA_FLAGS", ""):
            import jax

            jax.config.update("jax_num_cpu_devices", devices)
        if name == "rnn_jax":
            import jax

            from rnn_jax.training.runs.provenance import provenance

            self.module = importlib.import_module("peers.ours")
            return {"facts": provenance(), "devices": len(jax.devices())}
        peer = PEERS[name]
        try:
            self.module = importlib.import_module(f"peers.{peer.module}")
        except ModuleNotFoundError as error:
            raise Unsupported(f"not installed (no module {error.name})") from error
        return {
            "library": f"{peer.package} {importlib.metadata.version(peer.package)}",
            "jax": getattr(sys.modules.get("jax"), "__version__", None),
            "python": platform.python_version(),
        }

    def build(self, key, problem, save, **options):
        """Compile a layer, and write its results to the file `save`; `turn(key)` times it."""
        prepared = self.module.layer(Problem(**problem), **options)
        np.savez(save, **prepared.values)
        self.calls[key] = prepared.call
        return prepared.facts

    def matmul(self, key, size):
        """Prepare a product of two square matrices; `turn(key)` times it."""
        self.calls[key], operations = self.module.matmul(size)
        return {"operations": operations}

    def turn(self, key):
        """Seconds of one call."""
        return {"seconds": timing.turn(self.calls[key])}

    def clear(self):
        """Delete the compiled functions."""
        self.calls.clear()
        return {}

    def profile(self, key, folder):
        """Write a trace of a few calls after warm-up."""
        import jax

        self.calls[key]()
        with jax.profiler.trace(folder):
            for _ in range(3):
                self.calls[key]()
        return {}

    def job(self, key, data, sizes, indices, **options):
        """Create a training loop, and run a few steps to compile it."""
        with np.load(data) as arrays:
            self.images = np.divide(arrays["images"], 255, dtype=np.float32)
            self.labels = arrays["labels"]
        start = time.perf_counter()
        self.calls[key] = self.module.job(Sizes(**sizes), **options)
        self.calls[key](self.images, self.labels, np.array(indices))
        return {"start_seconds": time.perf_counter() - start}

    def steps(self, key, indices):
        """Train on some batches; return the seconds and the last loss."""
        indices = np.array(indices)
        start = time.perf_counter()
        loss = self.calls[key](self.images, self.labels, indices)
        return {"seconds": time.perf_counter() - start, "loss": loss}


def serve() -> None:
    """Answer requests until there are no more."""
    # The client handles interrupts and ends this process. Output of the libraries must not be
    # mixed with the answers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    server = Server()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(server, request.pop("do"))(**request)
        except Unsupported as error:
            answer = {"absent": str(error)}
        except Exception as error:
            kind, trace = type(error).__name__, traceback.format_exc()
            answer = {"mistake" if kind == "InputError" else "failed": str(error)}
            answer |= {"kind": kind, "trace": trace}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
