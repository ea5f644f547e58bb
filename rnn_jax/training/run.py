"""The run of a training command: its devices, its folder and its settings."""

import contextlib
import dataclasses
import functools
import io
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flax import nnx
from jax.sharding import Mesh
from matplotlib.figure import Figure

from rnn_jax.files import printable
from rnn_jax.plotting import style
from rnn_jax.training.commands.config import TrainConfig
from rnn_jax.training.commands.output import guarded
from rnn_jax.training.devices import agreement, sharding
from rnn_jax.training.runs import run_dir
from rnn_jax.training.runs.provenance import provenance
from rnn_jax.training.runs.run_dir import RunDir
from rnn_jax.typing import Data


class Run:
    """A training command between its start and its end; see `open_run`.

    Attributes:
      config: the options, with the folder that was chosen as `out_dir`.
      mesh: the devices, with the axis `data`.
      out: the folder.
      settings: everything in config.json: the options, and what `describe` adds.
      facts: versions, hardware and source of the data, for summary.json.
    """

    def __init__(self, config: TrainConfig, mesh: Mesh, out: RunDir):
        self.config, self.mesh, self.out = config, mesh, out
        self.settings: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}

    def describe(
        self,
        build: Callable[[Mapping[str, Any]], nnx.Module],
        *,
        source: str,
        data: Data,
        **facts: object,
    ) -> Callable[[], nnx.Module]:
        """Complete the settings of the run, print them, and compare the data of all processes.

        Args:
          build: `build(settings)` returns a newly initialized model; a function at the top level of
            a module, which config.json names for `load_run`.
          source: origin of the data, in words.
          data: all arrays of the training and the test set.
          facts: settings that `build` needs besides the options, such as `input_size`.

        Returns:
          a function without arguments that builds the model.
        """
        self.settings = dataclasses.asdict(self.config) | facts
        self.settings["experiment"] = type(self.config).out_dir.name
        self.settings["model"] = f"{build.__module__}:{build.__qualname__}"
        self.facts = provenance() | {"device_count": self.mesh.size, "data_source": source}
        options = dataclasses.asdict(self.config).items()
        shown = "  ".join(f"{name}={printable(value)}" for name, value in options)
        print(textwrap.fill(f"config   {shown}", 100, subsequent_indent=" " * 9))
        print("device   {device_count} x {device}, jax {jax}, Python {python}".format(**self.facts))
        print(f"data     {printable(source)}")
        agreement.check_data(data)
        return functools.partial(build, self.settings)

    @property
    def writes(self) -> bool:
        """True if this process, the first of the run, writes the results."""
        return self.out.writes

    def save_figures(self, figures: Mapping[str, Figure]) -> None:
        """Save figures in the folder, by file name."""
        for name, figure in figures.items():
            with run_dir.writing(self.out.path / name) as path:
                style.save(figure, path)


@contextlib.contextmanager
def open_run(config: TrainConfig) -> Iterator[Run]:
    """Start the devices, join the other processes and claim the folder of a training command.

    Within the context, only the first of several processes prints.

    Raises:
      InputError: the options are incompatible, or the folder cannot be used.
      RunError: another process of the run is missing.
    """
    sharding.start_devices(
        config.devices,
        config.coordinator,
        config.num_processes,
        config.process_id,
        config.start_timeout,
    )
    with sharding.all_present():
        agreement.check_settings(dataclasses.asdict(config))
    mesh = sharding.data_mesh(config.batch_size, config.devices)
    with (
        guarded(),
        sharding.all_present(),
        run_dir.claim(config.out_dir, type(config).out_dir, config.resume) as out,
        contextlib.redirect_stdout(sys.stdout if out.writes else io.StringIO()),
    ):
        if config.resume:
            agreement.check_folder(out.path)
        yield Run(dataclasses.replace(config, out_dir=out.path), mesh, out)
