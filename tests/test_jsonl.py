"""Files of rows: continued, renamed or reported as damaged."""

import json
import os
from pathlib import Path

import pytest

from rnn_jax import RunError
from rnn_jax.errors import InputError
from rnn_jax.training.runs.jsonl import append_rows, read_rows
from rnn_jax.training.runs.provenance import provenance
from rnn_jax.training.runs.resumed_rows import resume_rows
from rnn_jax.training.runs.run_dir import exclusive

ROWS = "rows.jsonl"


def resumed(path, settings, found):
    with exclusive(path) as out:
        return resume_rows(out, ROWS, settings, found, ("a",))


def test_rows_of_the_same_settings_are_kept_except_half_a_line(tmp_path, capsys):
    out, found = tmp_path / "out", provenance()
    assert resumed(out, {"steps": 3}, found) == []
    append_rows(out / ROWS, [{"a": 1}, {"a": 2}])
    with open(out / ROWS, "a") as file:
        file.write('{"a": ')
    assert resumed(out, {"steps": 3}, found) == [{"a": 1}, {"a": 2}] == read_rows(out / ROWS)
    whole = (out / ROWS).read_text().endswith("\n")
    assert whole and "resume   2 rows are in" in capsys.readouterr().out


@pytest.mark.parametrize("change", [{"steps": 4}, {"jax": "0.0"}])
def test_rows_of_other_settings_or_versions_are_renamed(change, tmp_path):
    out, found = tmp_path / "out", provenance()
    resumed(out, {"steps": 3}, found)
    append_rows(out / ROWS, [{"a": 1}])
    settings = {"steps": 3} | {name: x for name, x in change.items() if name == "steps"}
    with exclusive(out) as held:
        assert resume_rows(held, ROWS, settings, found | change) == []
        assert not (out / ROWS).exists() and read_rows(tmp_path / "out.1" / ROWS) == [{"a": 1}]
        with pytest.raises(InputError, match="in use by process"), exclusive(out):
            pass


DAMAGE = {
    "a broken line": b'{"a": 1}\n{"a":\n{"a": 3}\n',
    "a number": b'{"a": 1}\n2\n{"a": 3}\n',
    "a list": b'{"a": 1}\n[{"a": 2}]\n',
    "an empty line": b'{"a": 1}\n\n{"a": 3}\n',
    "another key": b'{"a": 1}\n{"c": 2}\n',
    "no UTF-8": b'{"a": 1}\n{"a\xff": 2}\n',
    "zeros": b'{"a": 1}\n\0\0\0\0\n',
    "deep nesting": b'{"a": 1}\n' + b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_row_is_named_and_nothing_is_overwritten(content, tmp_path):
    out, found = tmp_path / "out", provenance()
    resumed(out, {"steps": 3}, found)
    (out / ROWS).write_bytes(content)
    with pytest.raises(InputError, match=r"rows\.jsonl cannot be read as rows: line 2 is damaged"):
        resumed(out, {"steps": 3}, found)
    assert (out / ROWS).read_bytes() == content


@pytest.mark.parametrize("content", [None, "{", "[1]"], ids=["deleted", "cut off", "a list"])
def test_rows_without_settings_are_an_error(content, tmp_path):
    out, found = tmp_path / "out", provenance()
    resumed(out, {"steps": 3}, found)
    append_rows(out / ROWS, [{"a": 1}])
    (out / "config.json").unlink()
    if content:
        (out / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json"):
        resumed(out, {"steps": 3}, found)
    assert read_rows(out / ROWS) == [{"a": 1}]


def test_a_file_without_valid_rows_is_one_sentence(tmp_path):
    for path in (tmp_path / "none.jsonl", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(InputError, match="cannot be read as rows"):
            read_rows(path)


def test_a_row_that_cannot_be_written_names_the_file(tmp_path):
    with pytest.raises(
        RunError, match=r"rows\.jsonl cannot be written \(No such file.*start again"
    ):
        append_rows(tmp_path / "gone" / ROWS, [{"a": 1}])
    append_rows(tmp_path / ROWS, [{"a": 1}])
    assert json.loads((tmp_path / ROWS).read_text()) == {"a": 1}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device here")
def test_a_full_disk_is_one_sentence():
    with pytest.raises(RunError, match=r"/dev/full cannot be written .No space left on device"):
        append_rows(Path("/dev/full"), [{"a": 1}])
