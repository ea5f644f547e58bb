"""Paths given by users: home folders, URLs and unusual bytes."""

from pathlib import Path

import pytest

from rnn_jax import InputError
from rnn_jax.files import local_path, printable


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_path("~/a/b") == tmp_path / "a/b"
    assert local_path(Path("~")) == tmp_path


@pytest.mark.parametrize("path", ["a/b", "/a~b", ".", "a:b/c", "odd\udcff", "C:/data"])
def test_other_paths_are_unchanged(path):
    assert local_path(path) == Path(path)


@pytest.mark.parametrize(
    "path, sentence",
    [
        *((url, f"{url} is a URL") for url in ("gs://b/data", "s3://b", "https://a.org/t.txt")),
        (Path("gs://bucket/data"), "gs://bucket/data is a URL"),
        ("~no-such-user-here/data", "no home folder is known"),
        ("a\0b", r"a\\x00b contains a NUL"),
    ],
)
def test_a_path_that_is_not_local_is_one_sentence(path, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        local_path(path)
    assert "\n" not in str(error.value)


def test_control_characters_and_odd_bytes_are_printed_as_escapes():
    assert printable("é 文 🙂") == "é 文 🙂"
    assert printable("\x1b[31m\n\udcff") == r"\x1b[31m\n\udcff"
