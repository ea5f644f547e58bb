"""Original files are found or downloaded; damaged ones are refused."""

import hashlib
import socket
import zipfile

import pytest
from image_sets import (
    NAMES,
    assert_holds,
    flip_bit,
    pack_idx,
    register,
    tiny_arrays,
    write_original_files,
)
from tensorflow_datasets.image_classification import EMNIST, KMNIST, FashionMNIST

from rnn_jax.datasets.image_data import load_images
from rnn_jax.datasets.original_files import is_reachable
from rnn_jax.errors import InputError

pytestmark = pytest.mark.usefixtures("only_loopback")


@pytest.mark.parametrize(
    ("name", "builder_class"), [("fashion_mnist", FashionMNIST), ("kmnist", KMNIST)]
)
def test_a_data_set_in_the_format_of_mnist_is_downloaded(
    tmp_path, serve, monkeypatch, name, builder_class
):
    folder, url = serve
    register(monkeypatch, builder_class, write_original_files(folder, tiny_arrays(1)), url)
    data = load_images(name, tmp_path / "data")
    assert_holds(data, tiny_arrays(1))
    assert data.source.startswith("downloaded files, ")


def test_files_in_the_manual_folder_of_tfds_need_no_download(tmp_path, monkeypatch):
    manual = write_original_files(tmp_path / "data" / "downloads" / "manual", tiny_arrays(1))
    register(monkeypatch, KMNIST, manual)
    data = load_images("kmnist", tmp_path / "data")
    assert_holds(data, tiny_arrays(1))
    assert data.source.startswith(f"files in {manual}, prepared by TFDS in ")


def test_emnist_is_read_from_its_zip_up_to_the_counts_of_tfds(tmp_path, serve, monkeypatch):
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


@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_a_damaged_file_gives_an_error_with_both_checksums(tmp_path, original_files, damage):
    path = original_files / NAMES["train_labels"]
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    if damage == "flip":
        flip_bit(path, 12)
    else:
        path.write_bytes(path.read_bytes()[:-5])
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(InputError, match=f"{path} .*{expected}.*{found}"):
        load_images("mnist", tmp_path / "data", original_files)
    assert not (tmp_path / "data").exists()


def test_a_download_with_another_checksum_is_refused(tmp_path, serve, monkeypatch):
    folder, url = serve
    register(monkeypatch, KMNIST, write_original_files(folder, tiny_arrays(1)), url)
    flip_bit(folder / NAMES["test_labels"], 12)
    with pytest.raises(InputError, match=r"kmnist could not be prepared.*wrong checksum"):
        load_images("kmnist", tmp_path / "data")


def test_a_missing_download_gives_one_clear_error(tmp_path, serve, monkeypatch):
    folder, url = serve
    register(monkeypatch, KMNIST, write_original_files(folder, tiny_arrays(1)), url)
    (folder / NAMES["test_labels"]).unlink()
    with pytest.raises(InputError, match=r"kmnist could not be prepared.*404"):
        load_images("kmnist", tmp_path / "data")


def test_without_network_the_error_names_every_solution(tmp_path):
    with pytest.raises(InputError, match=r"pass a .data_dir. .*, or connect .*, or use mnist"):
        load_images("kmnist", tmp_path)
    with pytest.raises(InputError, match=r".data_dir. .*, or connect to the network once\.$"):
        load_images("mnist", tmp_path, bundled=tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_host_is_reachable_if_it_or_its_proxy_accepts_connections(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert is_reachable(f"http://127.0.0.1:{port}/file")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "")
        assert is_reachable("http://host.invalid/file")
    assert not is_reachable("http://host.invalid/file")
    assert not is_reachable(f"https://127.0.0.1:{port}/file")
