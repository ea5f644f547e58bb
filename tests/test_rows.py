"""Files of rows: what goes on, what is moved aside."""

import pytest

from rnn_jax.errors import InputError
from rnn_jax.rows import append_rows, facts, read_rows, resume_rows


def test_rows_of_the_same_settings_are_kept_but_for_half_a_line(tmp_path, capsys):
    path, found = tmp_path / "out" / "rows.jsonl", facts()
    assert resume_rows(path, {"steps": 3}, found) == []
    append_rows(path, [{"a": 1}, {"a": 2}])
    with open(path, "a") as file:
        file.write('{"a": ')
    assert resume_rows(path, {"steps": 3}, found) == [{"a": 1}, {"a": 2}] == read_rows(path)
    assert path.read_text().endswith("\n") and "goes on  with 2 rows" in capsys.readouterr().out


@pytest.mark.parametrize("change", [{"steps": 4}, {"jax": "0.0"}])
def test_rows_of_other_settings_or_versions_are_moved_aside(change, tmp_path):
    path, found = tmp_path / "out" / "rows.jsonl", facts()
    resume_rows(path, {"steps": 3}, found)
    append_rows(path, [{"a": 1}])
    settings = {"steps": 3} | {name: x for name, x in change.items() if name == "steps"}
    assert resume_rows(path, settings, found | change) == []
    assert not path.exists() and read_rows(tmp_path / "out.1" / "rows.jsonl") == [{"a": 1}]


def test_what_are_no_rows_is_said_in_one_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot be read as rows"):
        read_rows(tmp_path / "none.jsonl")
