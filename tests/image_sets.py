"""MNIST and tiny stand-ins for it: as original files, prepared by TFDS, or on a server.

`conftest.py` registers the fixtures. Every test run imports this module, so TFDS, which is slow to
import, is imported inside the functions that need it.
"""

import functools
import gzip
import hashlib
import http.server
import shutil
import threading
from urllib.parse import urljoin, urlsplit

import numpy as np
import pytest
from repository import ROOT

from rnn_jax.datasets.idx import read_idx
from rnn_jax.datasets.image_data import ImageData, load_images
from rnn_jax.datasets.original_files import is_reachable

BUNDLED = ROOT / "experiments" / "mnist_files"
NAMES = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}


@pytest.fixture
def only_loopback(monkeypatch):
    """Prevent access to other machines."""
    monkeypatch.setattr(
        "rnn_jax.datasets.tfds_images.is_reachable",
        lambda url: urlsplit(url).hostname == "127.0.0.1" and is_reachable(url),
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
    """Register the files of `folder` in TFDS in place of the real ones, at `url`."""
    from tensorflow_datasets.core.download.checksums import UrlInfo

    url = url or builder_class.URL
    monkeypatch.setattr(builder_class, "URL", url)
    infos = {}
    for path in folder.iterdir():
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        info = UrlInfo(path.stat().st_size, checksum, path.name)
        infos[urljoin(url, path.name)] = info
    monkeypatch.setattr(builder_class, "url_infos", infos)


def write_original_files(folder, arrays):
    folder.mkdir(parents=True, exist_ok=True)
    for key, array in arrays.items():
        (folder / NAMES[key]).write_bytes(pack_idx(array))
    return folder


@pytest.fixture
def original_files(tmp_path, monkeypatch):
    from tensorflow_datasets.image_classification import MNIST

    folder = write_original_files(tmp_path / "original_files", tiny_arrays())
    register(monkeypatch, MNIST, folder)
    return folder


@pytest.fixture
def prepared(tmp_path, original_files):
    """A data folder with a tiny MNIST prepared by TFDS, and no cache."""
    load_images("mnist", tmp_path / "data", original_files)
    shutil.rmtree(tmp_path / "data" / "rnn_jax_cache")
    return tmp_path / "data"


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Serve a folder over HTTP on the loopback interface."""
    # Otherwise a pending download would keep the process alive for minutes after the test.
    monkeypatch.setattr("tensorflow_datasets.core.download.downloader.MAX_RETRIES", 0)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "www")
    handler.func.log_message = lambda *args: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "www").mkdir()
        yield tmp_path / "www", f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def digits(count=300):
    """The first bundled digits, as the loader returns them."""

    def read(part):
        images, labels = (
            read_idx(next(BUNDLED.glob(f"{part}-{kind}*")))[:count] for kind in ("images", "labels")
        )
        return np.array(images), labels.astype(np.int32)

    return ImageData(*read("train"), *read("t10k"), 10, "mnist", "a few images")


def in_any_order(images, labels):
    """Sort examples, because TFDS shuffles them during preparation."""
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
