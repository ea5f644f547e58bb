"""Images are cached intact, become sequences in a fixed order, and are checked."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from image_sets import (
    BUNDLED,
    NAMES,
    assert_holds,
    flip_bit,
    register,
    tiny_arrays,
    write_original_files,
)
from tensorflow_datasets.image_classification import MNIST

from rnn_jax.datasets.idx import read_idx
from rnn_jax.datasets.image_data import check_sequences, load_images, to_sequences
from rnn_jax.errors import InputError

pytestmark = pytest.mark.usefixtures("only_loopback")


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )


def test_the_bundled_mnist_is_the_published_one(mnist):
    assert mnist.train_images.shape == (60_000, 28, 28) and mnist.train_images.dtype == np.uint8
    assert mnist.test_images.shape == (10_000, 28, 28) and mnist.test_labels.dtype == np.int32
    assert mnist.num_classes == 10 and mnist.name == "mnist"
    assert f"bundled files in {BUNDLED}" in mnist.source
    original_files = {key: read_idx(BUNDLED / name) for key, name in NAMES.items()}
    assert_holds(mnist, original_files)


def test_a_second_process_reads_the_cache_and_imports_neither_tfds_nor_jax(mnist, mnist_dir):
    code = (
        "import sys; from rnn_jax.datasets.image_data import load_images; "
        "data = load_images('mnist', sys.argv[1]); "
        "print(data.train_images.sum(), {'tensorflow_datasets', 'jax'} & set(sys.modules))"
    )
    assert run(code, mnist_dir).stdout == f"{mnist.train_images.sum()} set()\n"


def test_a_prepared_data_set_needs_no_original_files_and_no_network(prepared):
    data = load_images("mnist", prepared)
    assert_holds(data, tiny_arrays())
    assert data.source == f"TFDS mnist 3.0.1 prepared in {prepared}/mnist/3.0.1"
    assert "cached in" in load_images("mnist", prepared).source


def test_the_default_folder_is_that_of_tfds(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    assert str(prepared) in load_images().source


def test_the_newest_prepared_version_is_loaded(prepared):
    for version in ("3.0.9", "3.0.10"):
        shutil.copytree(prepared / "mnist" / "3.0.1", prepared / "mnist" / version)
        info = prepared / "mnist" / version / "dataset_info.json"
        info.write_text(info.read_text().replace("3.0.1", version))
    assert "mnist 3.0.10 prepared" in load_images("mnist", prepared).source


def test_a_damaged_cache_is_rebuilt(prepared):
    load_images("mnist", prepared)
    cache = prepared / "rnn_jax_cache" / "mnist-3.0.1.npz"
    size = cache.stat().st_size
    for position in range(0, size, size // 40):
        flip_bit(cache, position)
        assert_holds(load_images("mnist", prepared), tiny_arrays())
    cache.write_bytes(cache.read_bytes()[: size // 2])
    assert_holds(load_images("mnist", prepared), tiny_arrays())
    assert "cached in" in load_images("mnist", prepared).source


def test_a_cache_of_other_prepared_files_is_not_used(tmp_path, original_files, monkeypatch):
    load_images("mnist", tmp_path / "data", original_files)
    shutil.rmtree(tmp_path / "data" / "mnist")
    register(monkeypatch, MNIST, write_original_files(original_files, tiny_arrays(3)))
    assert_holds(load_images("mnist", tmp_path / "data", original_files), tiny_arrays(3))
    assert_holds(load_images("mnist", tmp_path / "data", original_files), tiny_arrays(3))


def test_loading_works_where_no_cache_can_be_written(prepared):
    (prepared / "rnn_jax_cache").write_text("a file stands where the folder should be")
    assert_holds(load_images("mnist", prepared), tiny_arrays())


def test_writing_the_cache_leaves_no_other_files(prepared):
    load_images("mnist", prepared)
    assert os.listdir(prepared / "rnn_jax_cache") == ["mnist-3.0.1.npz"]


def test_an_unreadable_folder_gives_one_clear_error(tmp_path, original_files):
    (tmp_path / "data").write_text("a file stands where the folder should be")
    with pytest.raises(InputError, match=r"data cannot be read \(Not a directory\); pass another"):
        load_images("mnist", tmp_path / "data", original_files)


def test_rows_gives_28_steps_of_28_features_in_0_to_1():
    images = tiny_arrays()["train_images"]
    images[0, 0, :2] = 0, 255
    xs = to_sequences(images, "rows")
    assert xs.shape == (6, 28, 28) and xs.dtype == np.float32
    assert xs[0, 0, 0] == 0 and xs[0, 0, 1] == 1
    np.testing.assert_allclose(xs[3, 5], images[3, 5] / 255, rtol=1e-6)


def test_pixels_go_through_the_image_row_by_row():
    images = tiny_arrays()["train_images"]
    xs = to_sequences(images, "pixels")
    assert xs.shape == (6, 784, 1)
    np.testing.assert_array_equal(xs.reshape(6, 28, 28), to_sequences(images, "rows"))


def test_permuted_pixels_have_one_fixed_order():
    images = tiny_arrays()["train_images"]
    xs, plain = to_sequences(images, "permuted-pixels"), to_sequences(images, "pixels")
    order = np.random.RandomState(92916).permutation(784)
    assert order[:4].tolist() == [319, 576, 323, 107]
    assert sorted(order) == list(range(784))
    np.testing.assert_array_equal(xs, plain[:, order])


def test_an_unknown_order_gives_an_error_with_the_known_ones():
    with pytest.raises(InputError, match=r"rows, pixels, permuted-pixels, got 'columns'"):
        to_sequences(tiny_arrays()["test_images"], "columns")


def test_images_that_are_already_scaled_are_refused(unchecked):
    with pytest.raises(InputError, match=r"uint8 \[N, 28, 28\], got float32 \[4, 28, 28\]"):
        to_sequences(np.ones((4, 28, 28), np.float32), "rows")


def test_valid_sequences_pass_the_check():
    data = tiny_arrays()
    check_sequences(to_sequences(data["train_images"]), data["train_labels"], 10)
    check_sequences(np.zeros((2, 5, 1), np.float64), [0, 1], 2)
    check_sequences(jnp.zeros((2, 5, 1), jnp.bfloat16), jnp.array([0, 1]), 2)


GOOD = np.zeros((3, 5, 2), np.float32)
WITH_NAN, WITH_INF = GOOD.copy(), GOOD.copy()
WITH_NAN[1:, 2, 1] = np.nan
WITH_INF[0, 0, 0] = -np.inf


@pytest.mark.parametrize(
    ("xs", "labels", "message"),
    [
        (GOOD[0], [0, 1, 2], r"array \[N, T, D\].* got \[5, 2\].*xs\[\.\.\., None\]"),
        (GOOD[:0], [], r"non-empty array .*, got \[0, 5, 2\]"),
        (GOOD[:, :0], [0, 1, 2], r"non-empty array .*, got \[3, 0, 2\]"),
        (GOOD.astype(np.uint8), [0, 1, 2], "must be floats, got uint8"),
        (GOOD.astype(bool), [0, 1, 2], "must be floats, got bool"),
        (WITH_NAN, [0, 1, 2], r"got 2 values that are not, the first nan at xs\[1, 2, 1\]"),
        (WITH_INF, [0, 1, 2], r"got 1 values that are not, the first -inf at xs\[0, 0, 0\]"),
        (GOOD, [0.0, 1.0, 2.0], r"labels must be integers \[N\].*got float64 \[3\]"),
        (GOOD, np.eye(3, dtype=int), r"labels must be integers \[N\].*got int64 \[3, 3\]"),
        (GOOD, [0, 1], "same length, got 3 sequences and 2 labels"),
        (GOOD, [0, 3, 4], r"must be in \[0, 3\), got 2 that are not, the first 3 at labels\[1\]"),
        (GOOD, [0, -1, 2], r"got 1 that are not, the first -1 at labels\[1\]"),
    ],
)
def test_invalid_sequences_are_refused(xs, labels, message):
    with pytest.raises(InputError, match=message):
        check_sequences(xs, labels, 3)
