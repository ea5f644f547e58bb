"""TFDS image data sets without TensorFlow; only imported if needed, as importing TFDS is slow."""

import contextlib
import difflib
import functools
import io
import logging
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from rnn_jax.datasets.idx import read_idx
from rnn_jax.datasets.original_files import is_reachable, missing_files
from rnn_jax.errors import InputError

_CHUNK = 10_000


def prepare(name: str, root: Path, spare: Path, bundled: Path | None) -> tuple[Path, str | None]:
    """Prepare a data set with TFDS in array_record format. The folder appears once it is complete.

    Args:
      name: the TFDS name, e.g. `mnist` or `emnist/letters`.
      root: the TFDS data folder.
      spare: the data folder to use if `root` has the data set in a format only TensorFlow can read.
      bundled: a folder with the original files, which makes a download unnecessary; or None.

    Returns:
      The prepared folder, and a phrase on the origin of the data, or None if it already existed.

    Raises:
      InputError: as for `image_data.load_images`.
    """
    builder = _builder(name, root, spare)
    _num_classes(builder.info.features, name)
    folder = Path(builder.data_dir)
    if folder.exists():
        return folder, None
    manual = bundled or Path(builder.data_dir_root) / "downloads" / "manual"
    missing = missing_files(builder.url_infos or {}, manual)
    if missing and not is_reachable(missing[0]):
        hint = "" if name == "mnist" else ", or use mnist, which needs no download"
        raise InputError(
            f"{name} is not prepared as array_record in {root}, its original files are not all in "
            f"{manual}, and {urlsplit(missing[0]).hostname} cannot be reached; pass a `data_dir` "
            f"with the prepared data set, or connect to the network once{hint}."
        )
    config = tfds.download.DownloadConfig(manual_dir=str(manual), try_download_gcs=False)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(spare / f".{name.replace('/', '-')}-{folder.name}.lock", folder):
            if folder.exists():  # Another process prepared it in the meantime.
                return folder, None
            for left_over in folder.parent.glob(f"incomplete.*_{folder.name}"):
                shutil.rmtree(left_over, ignore_errors=True)
            print(f"preparing {name} in {folder}; this happens once.", file=sys.stderr)
            with _quiet():
                builder.download_and_prepare(download_config=config, file_format="array_record")
    except ImportError as error:
        raise _unpreparable(name, error) from error
    except InputError:
        raise
    except Exception as error:  # The type depends on the writer, e.g. on a full disk.
        # If the folder exists now, a process without file locks prepared it.
        if not _is_readable(folder):
            raise InputError(
                f"{name} could not be prepared in {folder} ({_reason(error)}); check that the "
                "folder is writable and the network is up, or pass another `data_dir`."
            ) from error
    origin = f"{'bundled ' if bundled else ''}files in {manual}"
    return folder, f"{'downloaded files' if missing else origin}, prepared by TFDS in {folder}"


@contextlib.contextmanager
def _locked(path: Path, folder: Path) -> Iterator[None]:
    """Hold a file lock, where supported. The system releases it when the process ends."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            path.parent.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(open(path, "w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another process to prepare {folder}", file=sys.stderr)
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _builder(name: str, root: Path, spare: Path):
    """Make the TFDS builder in `root`, or in `spare` if only TensorFlow can read the data there."""
    try:
        with _quiet():
            make_builder = _builder_maker(name)
            builder = make_builder(data_dir=str(spare))
            in_root = root / builder.info.full_name
            if _is_readable(in_root) or not in_root.exists():
                builder = make_builder(data_dir=str(root))
    except ImportError as error:
        raise _unpreparable(name, error) from error
    return builder


def _is_readable(folder: Path) -> bool:
    return any(folder.glob("*.array_record*"))


def _unpreparable(name: str, error: ImportError) -> InputError:
    return InputError(
        f"TFDS cannot prepare {name} here ({_reason(error)}); prepare it as array_record on a "
        "machine with the missing packages, and pass that folder as `data_dir`."
    )


def read(folder: Path) -> dict:
    """Read a prepared data set: the fields of `image_data.ImageData` up to `num_classes`.

    Raises:
      InputError: a file is damaged, a split is missing, or there are no labeled 28 x 28 images.
    """
    try:
        with _quiet():
            builder: Any = tfds.builder_from_directory(folder)
    except Exception as error:
        raise _damaged(folder / "dataset_info.json", folder, error) from error
    splits = builder.info.splits
    fields = {"num_classes": _num_classes(builder.info.features, folder)}
    for split in ("train", "test"):
        if split not in splits:
            raise InputError(
                f"{folder} must have a train and a test split, got only {', '.join(splits)}; "
                "choose another data set."
            )
        try:
            with _quiet():
                images, labels = _read_records(builder.as_data_source(split))
        except Exception as error:
            raise _damaged(", ".join(map(str, splits[split].filepaths)), folder, error) from error
        fields |= {f"{split}_images": images, f"{split}_labels": labels}
    return fields


def _read_records(records) -> tuple[np.ndarray, np.ndarray]:
    images = np.empty((len(records), 28, 28), np.uint8)
    labels = np.empty(len(records), np.int32)
    for start in range(0, len(records), _CHUNK):
        chunk = range(start, min(start + _CHUNK, len(records)))
        for index, example in zip(chunk, records.__getitems__(list(chunk)), strict=True):
            images[index], labels[index] = example["image"][..., 0], example["label"]
    return images, labels


def _damaged(files: object, folder: Path, error: Exception) -> InputError:
    return InputError(
        f"{files} cannot be read ({_reason(error)}); delete {folder} and run again to prepare it "
        "again, or pass another `data_dir`."
    )


def _builder_maker(name: str) -> Callable:
    """Return a function from `data_dir` to the TFDS builder of a data set."""
    known = tfds.list_builders(with_community_datasets=False)
    dataset, _, config = name.partition("/")
    if dataset in known:
        builder_class = tfds.builder_cls(dataset)
        known = [dataset, *(f"{dataset}/{c}" for c in builder_class.builder_configs)]
    if name not in known:
        close = difflib.get_close_matches(name.lower(), known) or ["mnist"]
        raise InputError(f"TFDS has no data set {name!r}; did you mean {' or '.join(close)}?")
    if issubclass(builder_class, tfds.image_classification.MNIST):
        builder_class = _without_tensorflow(builder_class)
    return functools.partial(builder_class, config=config or None)


def _num_classes(features: Any, name: object) -> int:
    """Return the number of classes of a data set of labeled gray 28 x 28 images."""
    features = dict(features) if isinstance(features, tfds.features.FeaturesDict) else {}
    image: Any = features.get("image")
    label: Any = features.get("label")
    is_image = isinstance(image, tfds.features.Image) and image.np_dtype == np.uint8
    if not is_image or image.shape != (28, 28, 1) or not hasattr(label, "num_classes"):
        found = (f"image {f.shape}" if key == "image" else key for key, f in features.items())
        raise InputError(
            f"{name} must have an 8-bit image (28, 28, 1) and a label, got {', '.join(found)}; "
            "choose another data set, such as mnist."
        )
    return label.num_classes


def _without_tensorflow(builder_class: Any) -> type:
    """Replace the steps of the MNIST builder, or of a subclass, that need tf.io.

    Name, version, features, URLs and checksums are those of TFDS.
    """

    # pyright treats the base, which is known only at run time, as a plain object.
    class Builder(builder_class, skip_registration=True):  # pyright: ignore
        # TFDS finds the registered checksums by these two attributes.
        __module__ = builder_class.__module__
        name = builder_class.name

        def _split_generators(self, dl_manager):
            return super()._split_generators(_Packed(dl_manager))

        def _generate_examples(self, num_examples, data_path, label_path):
            images, labels = read_idx(data_path), read_idx(label_path)
            for index in range(min(num_examples, len(images))):
                yield index, {"image": Image.fromarray(images[index]), "label": int(labels[index])}

    return Builder


class _Packed:
    """A download manager that does not unpack archives, because TFDS needs TensorFlow for that."""

    def __init__(self, dl_manager):
        self.download_and_extract = dl_manager.download

    def extract(self, paths):
        return paths


def _reason(error: BaseException) -> str:
    """Shorten the innermost cause to one line: TFDS wraps errors and adds whole images to them."""
    while error.__cause__ is not None:
        error = error.__cause__
    return textwrap.shorten(str(error) or type(error).__name__, 400)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the progress bars, banners and warnings of TFDS."""
    logger = logging.getLogger("absl")
    was_disabled = logger.disabled
    logger.disabled = True
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.disabled = was_disabled
