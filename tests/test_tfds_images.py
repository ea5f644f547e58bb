"""TFDS prepares image data sets without TensorFlow, completely or with a clear error."""

import json
import shutil
import sys
import threading
import zipfile

import pytest
import tensorflow_datasets as tfds
from image_sets import NAMES, assert_holds, flip_bit, pack_idx, register, tiny_arrays
from tensorflow_datasets.image_classification import EMNIST

from rnn_jax.datasets import tfds_images
from rnn_jax.datasets.image_data import load_images
from rnn_jax.errors import InputError

pytestmark = pytest.mark.usefixtures("only_loopback")


def test_bundled_files_become_the_same_arrays(tmp_path, original_files):
    data = load_images("mnist", tmp_path / "data", original_files)
    assert_holds(data, tiny_arrays())
    assert data.num_classes == 10
    assert data.source == (
        f"bundled files in {original_files}, prepared by TFDS in {tmp_path}/data/mnist/3.0.1"
    )


def test_tfds_itself_reads_what_was_prepared(prepared):
    records = tfds.data_source("mnist", split="test", data_dir=prepared)
    assert len(records) == 4 and records[0]["image"].shape == (28, 28, 1)


def test_preparation_prints_one_line(tmp_path, original_files, capfd):
    load_images("mnist", tmp_path / "data", original_files)
    load_images("mnist", tmp_path / "data", original_files)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == f"preparing mnist in {tmp_path}/data/mnist/3.0.1; this happens once.\n"


def test_the_default_config_is_that_of_tfds(tmp_path, serve, monkeypatch):
    folder, url = serve
    with zipfile.ZipFile(folder / "gzip.zip", "w") as members:
        for key, array in tiny_arrays().items():
            name = NAMES[key].replace("t10k", "test")
            members.writestr(f"gzip/emnist-byclass-{name}", pack_idx(array))
    register(monkeypatch, EMNIST, folder, url)
    monkeypatch.setattr(EMNIST, "URL", url + "gzip.zip")
    assert "byclass" in load_images("emnist", tmp_path / "data").source
    assert "cached in" in load_images("emnist", tmp_path / "data").source


def test_a_tfrecord_folder_stays_untouched_and_is_prepared_again(tmp_path, original_files):
    folder = tmp_path / "data" / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{}")
    (folder / "mnist-train.tfrecord-00000-of-00001").write_bytes(b"records")
    data = load_images("mnist", tmp_path / "data", original_files)
    assert_holds(data, tiny_arrays())
    assert f"prepared by TFDS in {tmp_path}/data/rnn_jax_cache/mnist/3.0.1" in data.source
    assert sorted(p.name for p in folder.iterdir()) == [
        "dataset_info.json",
        "mnist-train.tfrecord-00000-of-00001",
    ]
    assert "cached in" in load_images("mnist", tmp_path / "data").source


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_record_file_gives_an_error_with_a_solution(prepared, damage):
    path = prepared / "mnist" / "3.0.1" / "mnist-train.array_record-00000-of-00001"
    if damage == "flip":
        flip_bit(path, 200)
    elif damage == "truncate":
        path.write_bytes(path.read_bytes()[:70_000])
    else:
        path.unlink()
    with pytest.raises(InputError, match=f"{path} cannot be read.*delete {path.parent} and run"):
        load_images("mnist", prepared)


def test_a_damaged_description_gives_an_error_with_a_solution(prepared):
    path = prepared / "mnist" / "3.0.1" / "dataset_info.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(InputError, match=f"{path} cannot be read.*delete {path.parent}"):
        load_images("mnist", prepared)


def test_an_interrupted_preparation_is_not_used(tmp_path, original_files, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(tfds_images.Image, "fromarray", raise_keyboard_interrupt)
        with pytest.raises(KeyboardInterrupt):
            load_images("mnist", tmp_path / "data", original_files)
    assert list((tmp_path / "data").rglob("dataset_info.json")) == []
    assert_holds(load_images("mnist", tmp_path / "data", original_files), tiny_arrays())


def raise_keyboard_interrupt(image):
    raise KeyboardInterrupt


def test_an_incomplete_folder_does_not_count_as_prepared(prepared):
    (prepared / "mnist" / "3.0.1").rename(prepared / "mnist" / "incomplete.ABC123_3.0.1")
    with pytest.raises(InputError, match="not prepared"):
        load_images("mnist", prepared)


def test_leftovers_of_a_killed_preparation_are_removed_by_the_next(tmp_path, original_files):
    folder, cache = tmp_path / "data" / "mnist", tmp_path / "data" / "rnn_jax_cache"
    (folder / "incomplete.ABC123_3.0.1").mkdir(parents=True)
    cache.mkdir()
    (cache / ".mnist-3.0.1.npz.0f3a").write_text("half of a cache")
    (folder / "incomplete.ABC123_2.0.0").mkdir()
    assert_holds(load_images("mnist", tmp_path / "data", original_files), tiny_arrays())
    assert {p.name for p in folder.iterdir()} == {"3.0.1", "incomplete.ABC123_2.0.0"}
    assert {p.name for p in cache.iterdir()} == {"mnist-3.0.1.npz", ".mnist-3.0.1.lock"}


def test_a_second_process_waits_for_the_first_and_uses_its_result(
    tmp_path, original_files, monkeypatch, capfd
):
    """The second, a thread, starts while the first prepares; each opens the lock separately."""
    prepare, others, found = tfds.core.DatasetBuilder.download_and_prepare, [], []

    def second():
        found.append(load_images("mnist", tmp_path / "data", original_files))

    def overtaken(builder, **options):
        assert not others, "both prepare"
        others.append(threading.Thread(target=second))
        others[0].start()
        others[0].join(timeout=1)
        assert others[0].is_alive() and not found
        prepare(builder, **options)

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", overtaken)
    assert_holds(load_images("mnist", tmp_path / "data", original_files), tiny_arrays())
    others[0].join()
    assert_holds(found[0], tiny_arrays())


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), ValueError("write failed\nat 7")]
)
def test_a_failed_preparation_gives_one_clear_error(tmp_path, original_files, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(InputError, match=r"could not be prepared .*(No space|write failed at 7)"):
        load_images("mnist", tmp_path / "data", original_files)


@pytest.mark.parametrize(
    "folder", ["gs://bucket/data", "a\0b", "~no-such-user/data", "/dev/null/a"]
)
def test_an_impossible_data_folder_gives_one_clear_error(folder, original_files):
    with pytest.raises(InputError) as error:
        load_images("mnist", folder, original_files)
    assert "\n" not in str(error.value)


def test_the_slower_of_two_processes_uses_the_result_of_the_faster(
    tmp_path, original_files, prepared, monkeypatch
):
    fromarray, target = tfds_images.Image.fromarray, tmp_path / "race" / "mnist" / "3.0.1"

    def overtaken(image):
        if not target.exists():
            shutil.copytree(prepared / "mnist" / "3.0.1", target)
        return fromarray(image)

    monkeypatch.setattr(tfds_images.Image, "fromarray", overtaken)
    assert_holds(load_images("mnist", tmp_path / "race", original_files), tiny_arrays())


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
def test_an_unknown_name_gives_an_error_with_similar_ones(tmp_path, name, near):
    with pytest.raises(InputError, match=rf"no data set '{name}'; did you mean .*{near}"):
        load_images(name, tmp_path)


@pytest.mark.parametrize("name", ["cifar10", "binarized_mnist"])
def test_other_kinds_of_data_are_refused_before_any_download(tmp_path, name):
    with pytest.raises(InputError, match=rf"{name} must have .*got .*image \(.*choose another"):
        load_images(name, tmp_path)


def test_a_data_set_that_needs_tensorflow_is_an_error(tmp_path, monkeypatch):
    if "moving_mnist" not in tfds.list_builders(with_community_datasets=False):
        pytest.skip("TFDS lists this set only where the packages it imports are installed")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(InputError, match=r"cannot prepare moving_mnist here.*tensorflow"):
        load_images("moving_mnist", tmp_path)


def test_a_data_set_without_a_test_split_is_refused(prepared):
    path = prepared / "mnist" / "3.0.1" / "dataset_info.json"
    info = json.loads(path.read_text())
    info["splits"] = [split for split in info["splits"] if split["name"] == "train"]
    path.write_text(json.dumps(info))
    with pytest.raises(InputError, match="train and a test split, got only train"):
        load_images("mnist", prepared)


def test_an_unwritable_folder_gives_one_clear_error(tmp_path, original_files, capfd):
    (tmp_path / "mnist").write_text("a file stands where the folder should be")
    with pytest.raises(InputError, match=r"could not be prepared in .*another .data_dir."):
        load_images("mnist", tmp_path, original_files)
    assert capfd.readouterr() == ("", "")
