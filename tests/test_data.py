import functools
import gzip
import hashlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds

from rnn_jax import tfds_images
from rnn_jax.data import check_sequences, load_images, to_sequences
from rnn_jax.errors import InputError
from rnn_jax.originals import reachable, read_idx

BUNDLED = Path(__file__).parents[1] / "experiments" / "mnist_files"
NAMES = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}
MNIST = tfds.image_classification.MNIST
FashionMNIST = tfds.image_classification.FashionMNIST
KMNIST = tfds.image_classification.KMNIST
EMNIST = tfds.image_classification.EMNIST


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch):
    """No test leaves this machine."""
    monkeypatch.setattr(
        tfds_images,
        "reachable",
        lambda url: urlsplit(url).hostname == "127.0.0.1" and reachable(url),
    )
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="session")
def mnist_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("mnist")


@pytest.fixture(scope="session")
def mnist(mnist_dir):
    return load_images("mnist", mnist_dir, bundled=BUNDLED)


def tiny_arrays(seed=0, train=6, test=4, num_classes=10):
    rng = np.random.default_rng(seed)
    return {
        "train_images": rng.integers(0, 256, (train, 28, 28), np.uint8),
        "train_labels": rng.integers(0, num_classes, train, np.uint8),
        "test_images": rng.integers(0, 256, (test, 28, 28), np.uint8),
        "test_labels": rng.integers(0, num_classes, test, np.uint8),
    }


def pack_idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.tobytes())


def register(monkeypatch, builder_class, folder, url=None):
    """Let TFDS expect the files of `folder`, as it does the real ones, at `url`."""
    url = url or builder_class.URL
    monkeypatch.setattr(builder_class, "URL", url)
    infos = {}
    for path in folder.iterdir():
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        info = tfds.core.download.checksums.UrlInfo(path.stat().st_size, checksum, path.name)
        infos[urljoin(url, path.name)] = info
    monkeypatch.setattr(builder_class, "url_infos", infos)


def write_originals(folder, arrays):
    folder.mkdir(parents=True, exist_ok=True)
    for key, array in arrays.items():
        (folder / NAMES[key]).write_bytes(pack_idx(array))
    return folder


@pytest.fixture
def originals(tmp_path, monkeypatch):
    folder = write_originals(tmp_path / "originals", tiny_arrays())
    register(monkeypatch, MNIST, folder)
    return folder


@pytest.fixture
def prepared(tmp_path, originals):
    """A data folder in which TFDS has prepared the tiny MNIST, and nothing is cached."""
    load_images("mnist", tmp_path / "data", originals)
    shutil.rmtree(tmp_path / "data" / "rnn_jax_cache")
    return tmp_path / "data"


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Serve a folder over HTTP on the loopback interface."""
    # Else a download still under way when a test ends would keep the process alive for minutes.
    monkeypatch.setattr("tensorflow_datasets.core.download.downloader.MAX_RETRIES", 0)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "www")
    handler.func.log_message = lambda *args: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "www").mkdir()
        yield tmp_path / "www", f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def in_any_order(images, labels):
    """TFDS shuffles as it prepares, so examples are compared as a set."""
    return sorted(
        (image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
    )


def assert_holds(data, arrays):
    for split in ("train", "test"):
        images, labels = f"{split}_images", f"{split}_labels"
        assert in_any_order(getattr(data, images), getattr(data, labels)) == in_any_order(
            arrays[images], arrays[labels]
        )


def flip_bit(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


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
    assert f"bundled originals in {BUNDLED}" in mnist.source
    originals = {key: read_idx(BUNDLED / name) for key, name in NAMES.items()}
    assert_holds(mnist, originals)


def test_a_second_process_reads_the_cache_and_imports_neither_tfds_nor_jax(mnist, mnist_dir):
    code = (
        "import sys; from rnn_jax.data import load_images; "
        "data = load_images('mnist', sys.argv[1]); "
        "print(data.train_images.sum(), {'tensorflow_datasets', 'jax'} & set(sys.modules))"
    )
    assert run(code, mnist_dir).stdout == f"{mnist.train_images.sum()} set()\n"


def test_bundled_originals_become_the_same_arrays(tmp_path, originals):
    data = load_images("mnist", tmp_path / "data", originals)
    assert_holds(data, tiny_arrays())
    assert data.num_classes == 10
    assert data.source == (
        f"bundled originals in {originals}, prepared by TFDS in {tmp_path}/data/mnist/3.0.1"
    )


def test_tfds_itself_reads_what_was_prepared(prepared):
    records = tfds.data_source("mnist", split="test", data_dir=prepared)
    assert len(records) == 4 and records[0]["image"].shape == (28, 28, 1)


def test_a_prepared_set_needs_no_originals_and_no_network(prepared):
    data = load_images("mnist", prepared)
    assert_holds(data, tiny_arrays())
    assert data.source == f"TFDS mnist 3.0.1 prepared in {prepared}/mnist/3.0.1"
    assert "cached in" in load_images("mnist", prepared).source


def test_the_default_folder_is_the_one_tfds_uses(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    assert str(prepared) in load_images().source


def test_the_newest_prepared_version_is_taken(prepared):
    for version in ("3.0.9", "3.0.10"):
        shutil.copytree(prepared / "mnist" / "3.0.1", prepared / "mnist" / version)
        info = prepared / "mnist" / version / "dataset_info.json"
        info.write_text(info.read_text().replace("3.0.1", version))
    assert "mnist 3.0.10 prepared" in load_images("mnist", prepared).source


def test_only_one_line_reaches_the_screen(tmp_path, originals, capfd):
    load_images("mnist", tmp_path / "data", originals)
    load_images("mnist", tmp_path / "data", originals)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == f"preparing mnist in {tmp_path}/data/mnist/3.0.1; this happens once.\n"


@pytest.mark.parametrize(
    ("name", "builder_class"), [("fashion_mnist", FashionMNIST), ("kmnist", KMNIST)]
)
def test_a_set_in_the_format_of_mnist_is_downloaded(
    tmp_path, serve, monkeypatch, name, builder_class
):
    folder, url = serve
    register(monkeypatch, builder_class, write_originals(folder, tiny_arrays(1)), url)
    data = load_images(name, tmp_path / "data")
    assert_holds(data, tiny_arrays(1))
    assert data.source.startswith("downloaded originals, ")


def test_originals_put_in_the_manual_folder_of_tfds_need_no_download(tmp_path, monkeypatch):
    manual = write_originals(tmp_path / "data" / "downloads" / "manual", tiny_arrays(1))
    register(monkeypatch, KMNIST, manual)
    data = load_images("kmnist", tmp_path / "data")
    assert_holds(data, tiny_arrays(1))
    assert data.source.startswith(f"originals in {manual}, prepared by TFDS in ")


def test_emnist_is_read_from_inside_its_zip_up_to_the_counts_of_tfds(tmp_path, serve, monkeypatch):
    folder, url = serve
    arrays = tiny_arrays(2, num_classes=37)
    with zipfile.ZipFile(folder / "gzip.zip", "w") as members:
        for key, array in arrays.items():
            name = NAMES[key].replace("t10k", "test")
            members.writestr(f"gzip/emnist-letters-{name}", pack_idx(array))
    register(monkeypatch, EMNIST, folder, url)
    monkeypatch.setattr(EMNIST, "URL", url + "gzip.zip")
    monkeypatch.setattr(EMNIST.builder_configs["letters"], "train_examples", 3)
    data = load_images("emnist/letters", tmp_path / "data")
    arrays |= {"train_images": arrays["train_images"][:3]}
    arrays |= {"train_labels": arrays["train_labels"][:3]}
    assert_holds(data, arrays)
    assert data.num_classes == 37
    assert "cached in" in load_images("emnist/letters", tmp_path / "data").source


def test_a_config_left_out_is_the_default_of_tfds(tmp_path, serve, monkeypatch):
    folder, url = serve
    with zipfile.ZipFile(folder / "gzip.zip", "w") as members:
        for key, array in tiny_arrays().items():
            name = NAMES[key].replace("t10k", "test")
            members.writestr(f"gzip/emnist-byclass-{name}", pack_idx(array))
    register(monkeypatch, EMNIST, folder, url)
    monkeypatch.setattr(EMNIST, "URL", url + "gzip.zip")
    assert "byclass" in load_images("emnist", tmp_path / "data").source
    assert "cached in" in load_images("emnist", tmp_path / "data").source


def test_a_set_that_only_tensorflow_reads_is_left_alone_and_prepared_again(tmp_path, originals):
    folder = tmp_path / "data" / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{}")
    (folder / "mnist-train.tfrecord-00000-of-00001").write_bytes(b"records")
    data = load_images("mnist", tmp_path / "data", originals)
    assert_holds(data, tiny_arrays())
    assert f"prepared by TFDS in {tmp_path}/data/rnn_jax_cache/mnist/3.0.1" in data.source
    assert sorted(p.name for p in folder.iterdir()) == [
        "dataset_info.json",
        "mnist-train.tfrecord-00000-of-00001",
    ]
    assert "cached in" in load_images("mnist", tmp_path / "data").source


def test_a_damaged_cache_is_never_loaded_but_made_again(prepared):
    load_images("mnist", prepared)
    cache = prepared / "rnn_jax_cache" / "mnist-3.0.1.npz"
    size = cache.stat().st_size
    for position in range(0, size, size // 40):
        flip_bit(cache, position)
        assert_holds(load_images("mnist", prepared), tiny_arrays())
    cache.write_bytes(cache.read_bytes()[: size // 2])
    assert_holds(load_images("mnist", prepared), tiny_arrays())
    assert "cached in" in load_images("mnist", prepared).source


def test_a_cache_of_other_prepared_files_is_not_used(tmp_path, originals, monkeypatch):
    load_images("mnist", tmp_path / "data", originals)
    shutil.rmtree(tmp_path / "data" / "mnist")
    register(monkeypatch, MNIST, write_originals(originals, tiny_arrays(3)))
    assert_holds(load_images("mnist", tmp_path / "data", originals), tiny_arrays(3))
    assert_holds(load_images("mnist", tmp_path / "data", originals), tiny_arrays(3))


def test_a_folder_where_no_cache_can_be_written_still_serves(prepared):
    (prepared / "rnn_jax_cache").write_text("a file stands where the folder should be")
    assert_holds(load_images("mnist", prepared), tiny_arrays())


def test_writing_the_cache_leaves_nothing_but_the_cache(prepared):
    load_images("mnist", prepared)
    assert os.listdir(prepared / "rnn_jax_cache") == ["mnist-3.0.1.npz"]


@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_a_damaged_original_is_named_with_both_checksums(tmp_path, originals, damage):
    path = originals / NAMES["train_labels"]
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    if damage == "flip":
        flip_bit(path, 12)
    else:
        path.write_bytes(path.read_bytes()[:-5])
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(InputError, match=f"{path} .*{expected}.*{found}"):
        load_images("mnist", tmp_path / "data", originals)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_record_file_is_named_with_the_way_out(prepared, damage):
    path = prepared / "mnist" / "3.0.1" / "mnist-train.array_record-00000-of-00001"
    if damage == "flip":
        flip_bit(path, 200)
    elif damage == "truncate":
        path.write_bytes(path.read_bytes()[:70_000])
    else:
        path.unlink()
    with pytest.raises(InputError, match=f"{path} cannot be read.*delete {path.parent} and run"):
        load_images("mnist", prepared)


def test_a_damaged_description_is_named_with_the_way_out(prepared):
    path = prepared / "mnist" / "3.0.1" / "dataset_info.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(InputError, match=f"{path} cannot be read.*delete {path.parent}"):
        load_images("mnist", prepared)


def test_an_interrupted_preparation_leaves_nothing_that_is_taken_as_prepared(
    tmp_path, originals, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(tfds_images.Image, "fromarray", raise_keyboard_interrupt)
        with pytest.raises(KeyboardInterrupt):
            load_images("mnist", tmp_path / "data", originals)
    assert list((tmp_path / "data").rglob("dataset_info.json")) == []
    assert_holds(load_images("mnist", tmp_path / "data", originals), tiny_arrays())


def raise_keyboard_interrupt(image):
    raise KeyboardInterrupt


def test_what_a_killed_preparation_left_is_not_taken_as_prepared(prepared):
    (prepared / "mnist" / "3.0.1").rename(prepared / "mnist" / "incomplete.ABC123_3.0.1")
    with pytest.raises(InputError, match="not prepared"):
        load_images("mnist", prepared)


def test_of_two_processes_that_prepare_the_slower_takes_the_faster_ones_work(
    tmp_path, originals, prepared, monkeypatch
):
    fromarray, target = tfds_images.Image.fromarray, tmp_path / "race" / "mnist" / "3.0.1"

    def overtaken(image):
        if not target.exists():
            shutil.copytree(prepared / "mnist" / "3.0.1", target)
        return fromarray(image)

    monkeypatch.setattr(tfds_images.Image, "fromarray", overtaken)
    assert_holds(load_images("mnist", tmp_path / "race", originals), tiny_arrays())


def test_a_download_with_another_checksum_is_refused(tmp_path, serve, monkeypatch):
    folder, url = serve
    register(monkeypatch, KMNIST, write_originals(folder, tiny_arrays(1)), url)
    flip_bit(folder / NAMES["test_labels"], 12)
    with pytest.raises(InputError, match=r"kmnist could not be prepared.*wrong checksum"):
        load_images("kmnist", tmp_path / "data")


def test_a_file_that_the_server_lacks_is_one_sentence(tmp_path, serve, monkeypatch):
    folder, url = serve
    register(monkeypatch, KMNIST, write_originals(folder, tiny_arrays(1)), url)
    (folder / NAMES["test_labels"]).unlink()
    with pytest.raises(InputError, match=r"kmnist could not be prepared.*404"):
        load_images("kmnist", tmp_path / "data")


def test_without_network_the_error_names_every_way_out(tmp_path):
    with pytest.raises(InputError, match=r"--data-dir, or connect .*, or use mnist"):
        load_images("kmnist", tmp_path)
    with pytest.raises(InputError, match=r"--data-dir, or connect to the network once\.$"):
        load_images("mnist", tmp_path, bundled=tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("mnst", "mnist"),
        ("MNIST", "mnist"),
        ("emnist/lettrs", "emnist/letters"),
        ("mnist:3.0.1", "mnist"),
        ("../mnist", "mnist"),
        ("/", "mnist"),
        ("", "mnist"),
    ],
)
def test_an_unknown_name_is_answered_with_close_ones(tmp_path, name, near):
    with pytest.raises(InputError, match=rf"no data set '{name}'; did you mean .*{near}"):
        load_images(name, tmp_path)


@pytest.mark.parametrize("name", ["cifar10", "binarized_mnist"])
def test_a_set_of_anything_but_such_images_with_labels_is_refused_before_any_download(
    tmp_path, name
):
    with pytest.raises(InputError, match=rf"{name} has .*image \(.*choose another data set"):
        load_images(name, tmp_path)


def test_a_set_that_tfds_cannot_make_without_tensorflow_names_what_it_lacks(tmp_path, monkeypatch):
    if "moving_mnist" not in tfds.list_builders(with_community_datasets=False):
        pytest.skip("TFDS lists this set only where the packages it imports are installed")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(InputError, match=r"cannot prepare moving_mnist here.*tensorflow"):
        load_images("moving_mnist", tmp_path)


def test_a_set_without_a_test_split_is_refused(prepared):
    path = prepared / "mnist" / "3.0.1" / "dataset_info.json"
    info = json.loads(path.read_text())
    info["splits"] = [split for split in info["splits"] if split["name"] == "train"]
    path.write_text(json.dumps(info))
    with pytest.raises(InputError, match="has no test split, only train"):
        load_images("mnist", prepared)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, originals, capfd):
    (tmp_path / "mnist").write_text("a file stands where the folder should be")
    with pytest.raises(InputError, match=r"could not be prepared in .*another one with --data-dir"):
        load_images("mnist", tmp_path, originals)
    assert capfd.readouterr() == ("", "")


def test_a_folder_that_cannot_be_read_is_one_sentence(tmp_path, originals):
    (tmp_path / "data").write_text("a file stands where the folder should be")
    with pytest.raises(InputError, match=r"data cannot be read \(Not a directory\); pass another"):
        load_images("mnist", tmp_path / "data", originals)


def test_a_host_is_reachable_when_it_or_its_proxy_takes_connections(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert reachable(f"http://127.0.0.1:{port}/file")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "")
        assert reachable("http://host.invalid/file")
    assert not reachable("http://host.invalid/file")
    assert not reachable(f"https://127.0.0.1:{port}/file")


def test_rows_are_steps_of_28_features_in_0_to_1():
    images = tiny_arrays()["train_images"]
    images[0, 0, :2] = 0, 255
    xs = to_sequences(images, "rows")
    assert xs.shape == (6, 28, 28) and xs.dtype == np.float32
    assert xs[0, 0, 0] == 0 and xs[0, 0, 1] == 1
    np.testing.assert_allclose(xs[3, 5], images[3, 5] / 255, rtol=1e-6)


def test_pixels_are_read_row_by_row():
    images = tiny_arrays()["train_images"]
    xs = to_sequences(images, "pixels")
    assert xs.shape == (6, 784, 1)
    np.testing.assert_array_equal(xs.reshape(6, 28, 28), to_sequences(images, "rows"))


def test_permuted_pixels_are_in_one_order_for_every_image_and_every_run():
    images = tiny_arrays()["train_images"]
    xs, plain = to_sequences(images, "permuted-pixels"), to_sequences(images, "pixels")
    order = np.random.RandomState(92916).permutation(784)
    assert order[:4].tolist() == [319, 576, 323, 107]
    assert sorted(order) == list(range(784))
    np.testing.assert_array_equal(xs, plain[:, order])


def test_an_unknown_order_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"rows, pixels, permuted-pixels, got 'columns'"):
        to_sequences(tiny_arrays()["test_images"], "columns")


def test_images_already_scaled_are_not_scaled_again(unchecked):
    with pytest.raises(InputError, match=r"uint8 \[N, 28, 28\], got float32 \[4, 28, 28\]"):
        to_sequences(np.ones((4, 28, 28), np.float32), "rows")


def test_sequences_that_can_be_trained_on_pass():
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
        (GOOD[0], [0, 1, 2], r"must be \[N, T, D\].* got \[5, 2\].*xs\[\.\.\., None\]"),
        (GOOD[:0], [], r"none of them 0, got \[0, 5, 2\]"),
        (GOOD[:, :0], [0, 1, 2], r"none of them 0, got \[3, 0, 2\]"),
        (GOOD.astype(np.uint8), [0, 1, 2], "must be floats, got uint8"),
        (GOOD.astype(bool), [0, 1, 2], "must be floats, got bool"),
        (WITH_NAN, [0, 1, 2], r"2 values that are not finite, the first nan at xs\[1, 2, 1\]"),
        (WITH_INF, [0, 1, 2], r"1 values that are not finite, the first -inf at xs\[0, 0, 0\]"),
        (GOOD, [0.0, 1.0, 2.0], r"labels must be integers \[N\].*got float64 \[3\]"),
        (GOOD, np.eye(3, dtype=int), r"labels must be integers \[N\].*got int64 \[3, 3\]"),
        (GOOD, [0, 1], "xs has 3 sequences and labels has 2 entries"),
        (GOOD, [0, 3, 4], r"must lie in \[0, 3\), but 2 do not, the first 3 at labels\[1\]"),
        (GOOD, [0, -1, 2], r"but 1 do not, the first -1 at labels\[1\]"),
    ],
)
def test_sequences_that_cannot_be_trained_on_are_refused(xs, labels, message):
    with pytest.raises(InputError, match=message):
        check_sequences(xs, labels, 3)
