"""Resuming a JSONL file of measurements."""

from collections.abc import Mapping
from typing import Any

from rnn_jax.errors import InputError
from rnn_jax.files import read_json
from rnn_jax.training.runs.jsonl import as_line, read_rows
from rnn_jax.training.runs.provenance import MACHINE, machine
from rnn_jax.training.runs.run_dir import RunDir


def resume_rows(
    out: RunDir, name: str, settings: Mapping[str, Any], found: Mapping[str, Any], keys=()
) -> list[dict]:
    """Prepare a folder for a JSONL file; return the rows that the file already has.

    They are kept if they were measured with the same settings on the same machine, according to
    the config.json in the folder. Otherwise the folder is moved aside. The outcome is printed.

    Args:
      out: the folder, locked; see `rnn_jax.training.runs.run_dir.exclusive`.
      name: name of the file.
      settings: settings that all rows share.
      found: the `provenance` of this process.
      keys: keys that each row must have.

    Raises:
      InputError: the rows or config.json are damaged.
      RunError: the folder cannot be written.
    """
    print(f"device   {machine(found)}")
    shared = {name: str(value) for name, value in settings.items()}
    shared |= {name: found[name] for name in MACHINE}
    path = out.path / name
    saved = read_json(out.path / "config.json")
    if saved is None and path.exists():
        raise InputError(
            f"{path} has no config.json next to it with the settings of its rows; "
            "put it back, or give another `out_dir`."
        )
    if saved == shared and path.exists():
        rows = read_rows(path, keys)
        # An unfinished line would corrupt the next one.
        out.write_text(name, "".join(map(as_line, rows)))
        print(f"resume   {len(rows)} rows are in {path}")
        return rows
    if saved != shared and (earlier := out.move_aside()):
        print(f"kept     the earlier run, with other settings, now in {earlier}")
    out.write("config.json", shared)
    return []
