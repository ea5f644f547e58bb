"""Text as data: files, encoding, windows and entropies."""

import codecs
import hashlib
import os
import tracemalloc

import numpy as np
import pytest

from rnn_jax import InputError
from rnn_jax.datasets import text as text_module
from rnn_jax.datasets.text import (
    START_ID,
    bigram_bits,
    encode,
    hold_out,
    load_text,
    python_source,
    read_text,
    unigram_bits,
)
from rnn_jax.datasets.text_files import BLOCK
from rnn_jax.datasets.text_windows import Windows
from rnn_jax.training.batches import StreamOrder

LINES = "one\r\ntwo, na\u00efve\n"


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "is empty"),
        (codecs.BOM_UTF8, "is empty except for a byte order mark"),
        (b"caf\xe9 cr\xe8me", "is not UTF-8: byte 0xe9 at position 3; convert it"),
        (b"a" * (BLOCK + 7) + b"\xff", "byte 0xff at position 1,048,583"),
        (b"two\0words", "contains NUL characters"),
        (b"a\0", "contains NUL characters"),
        *(
            (LINES.encode(name), f"looks like {name.upper()} without a byte order mark.*iconv -f")
            for name in ("utf-16le", "utf-16be", "utf-32le", "utf-32be")
        ),
        (LINES.encode("utf-16")[:-1], "byte order mark of UTF-16 but is not valid"),
        (LINES.encode("utf-32")[:-1], "byte order mark of UTF-32 but is not valid"),
    ],
)
def test_a_file_that_is_not_text_gives_one_clear_error(tmp_path, content, sentence):
    path = tmp_path / "some.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        read_text(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_text(tmp_path)


def test_a_path_that_is_not_a_file_gives_one_clear_error(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "locked").write_text("text")
    (tmp_path / "locked").chmod(0)
    cases = {"pipe": "not a regular file", ".": "a folder", "gone": "No such file"}
    if not os.access(tmp_path / "locked", os.R_OK):
        cases["locked"] = "Permission denied"
    for name, sentence in cases.items():
        with pytest.raises(InputError, match=sentence):
            read_text(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_and_carriage_returns_are_removed(tmp_path, encoding):
    path = tmp_path / "some.txt"
    path.write_bytes(LINES.encode(encoding))
    assert read_text(path) == LINES.replace("\r", "")
    path.write_bytes(codecs.BOM_UTF16_BE + LINES.encode("utf-16-be"))
    assert read_text(path) == LINES.replace("\r", "")


@pytest.mark.parametrize("count, dtype", [(1, np.uint8), (256, np.uint8), (257, np.uint16)])
def test_a_file_is_encoded_in_the_smallest_type(tmp_path, count, dtype):
    vocabulary = "".join(map(chr, range(0x4E00, 0x4E00 + count)))
    text = vocabulary * (1 + (BLOCK + 9) // count)
    path = tmp_path / "some.txt"
    path.write_text(text, encoding="utf-8")
    ids, known, digest = load_text(path)
    assert ids.dtype == dtype and known == vocabulary
    np.testing.assert_array_equal(ids, np.arange(len(text)) % count)
    assert digest == hashlib.sha256(text.encode()).hexdigest()


def test_reading_a_text_takes_less_memory_than_twice_its_size(tmp_path):
    path, size = tmp_path / "some.txt", 40_000_000
    path.write_bytes(b"some text " * (size // 10))
    tracemalloc.start()
    data = Windows(load_text(path).ids, batch_size=32, length=64).load()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert data[1].nbytes > 0.99 * size
    assert peak < 2 * size


@pytest.mark.parametrize("alphabet", ["some text ", "zw\u00f6lf \u4e09\r\n", "\U0001f3b5 " * 9])
def test_ids_in_a_file_are_those_in_memory(tmp_path, alphabet):
    path, ids_file = tmp_path / "some.txt", tmp_path / "ids.npy"
    path.write_text(alphabet * (1 + 2 * BLOCK // len(alphabet)), newline="", encoding="utf-8")
    ids, *rest = load_text(path)
    tracemalloc.start()
    found, *others = load_text(path, ids_file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(found, np.memmap) and found.dtype == ids.dtype and others == rest
    np.testing.assert_array_equal(found, ids)
    assert peak < 40 * BLOCK and [each.name for each in tmp_path.iterdir()].count("ids.npy") == 1


def test_a_text_that_changes_while_it_is_read_is_an_error(tmp_path, monkeypatch):
    texts = iter([["ab", "c"], ["ab", "b"]])
    monkeypatch.setattr(text_module, "decoded_blocks", lambda path: next(texts))
    with pytest.raises(InputError, match=r"some\.txt changed while it was read"):
        load_text(tmp_path / "some.txt", tmp_path / "ids.npy")
    assert not list(tmp_path.iterdir())


def test_windows_read_one_by_one_are_those_read_at_once(tmp_path):
    np.save(tmp_path / "ids.npy", np.random.default_rng(0).integers(9, size=123).astype(np.uint8))
    ids = np.load(tmp_path / "ids.npy", mmap_mode="r")
    whole = Windows(np.array(ids), batch_size=3, length=5).load()
    for windows in (Windows(ids, 3, 5), Windows(np.array(ids), 3, 5)):
        chosen = np.random.default_rng(1).permutation(len(windows))[:17]
        for mine, theirs in zip(windows[chosen], whole, strict=True):
            assert type(mine) is np.ndarray and mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs[chosen])


def test_at_most_a_million_characters_are_held_out():
    for count, want in [(1, 1), (60, 6), (10**8, 10**6)]:
        assert len(hold_out(np.broadcast_to(np.uint8(0), count))[1]) == want


def test_the_default_text_is_long_and_code():
    text = python_source()
    assert len(text) > 500_000
    assert text.count("def ") > 900


def test_encoding_is_invertible_and_refuses_unknown_characters():
    text = "naïve 文字 🙂\n"
    vocabulary = "".join(sorted(set(text)))
    ids = encode(text, vocabulary)
    assert "".join(vocabulary[i] for i in ids) == text
    with pytest.raises(InputError, match="'q' is not one of the 10 characters"):
        encode("query", vocabulary)
    with pytest.raises(InputError, match=r"'\\udcff' is not one of"):
        encode("\udcff", vocabulary)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_windows_cover_every_character_once_after_its_predecessor(dtype):
    ids = np.arange(50, dtype=dtype)
    before, targets, begins = Windows(ids, batch_size=3, length=5).load()
    assert targets.shape == (9, 5) and targets.dtype == dtype
    np.testing.assert_array_equal(np.sort(targets.ravel()), np.arange(45))
    np.testing.assert_array_equal(before == START_ID, begins)
    assert begins.sum() == 3
    np.testing.assert_array_equal(before[~begins], targets[~begins, 0].astype(int) - 1)
    steps = StreamOrder(3, 3).indices(0, 3)
    np.testing.assert_array_equal(targets[steps[:, 1]].ravel(), np.arange(15, 30))
    assert begins[steps].tolist() == [[True] * 3, [False] * 3, [False] * 3]


def test_entropies_match_sources_of_known_entropy():
    fair = np.random.default_rng(0).integers(8, size=100_000).astype(np.int32)
    assert unigram_bits(fair) == pytest.approx(3, abs=1e-3)
    assert bigram_bits(fair) == pytest.approx(3, abs=1e-3)
    turns = np.tile(np.arange(4, dtype=np.int32), 100)
    assert unigram_bits(turns) == 2
    assert bigram_bits(turns) == pytest.approx(0, abs=1e-9)
    assert unigram_bits(turns * 0) == bigram_bits(turns * 0) == 0
