"""A checkpoint is restored exactly or reported as damaged."""

import json
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from rnn_jax import InputError, LSTMCarry, RunError
from rnn_jax.training.devices.sharding import data_mesh, replicated
from rnn_jax.training.runs.checkpoint import Checkpoints, DamageWarning

FACTS = {"seconds": 1.5}


def tree(step=1):
    """A tree with one leaf of each kind."""
    return {
        "params": LSTMCarry(
            jax.random.normal(jax.random.key(step), (64, 16)), jnp.arange(4, dtype=jnp.bfloat16)
        ),
        "step": jnp.int32(step),
        "key": jax.random.key_data(jax.random.key(step)),
    }


@pytest.fixture
def saved(tmp_path):
    """Checkpoints of the steps 1 and 2."""
    checkpoints = Checkpoints(tmp_path / "run")
    for step in (1, 2):
        checkpoints.save(step, tree(step), FACTS)
    return checkpoints


def assert_same(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for mine, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs))


def arrays_file(folder):
    """The largest file of a checkpoint, which holds the array data."""
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE = {
    "a_bit_of_the_arrays": (lambda f: flip_bit(arrays_file(f)), "SHA-256|cannot be read"),
    "a_bit_of_the_contents": (lambda f: flip_bit(f / "contents.json"), "SHA-256|cannot be read"),
    "arrays_cut_short": (lambda f: truncate(arrays_file(f)), "SHA-256 of .* differs"),
    "contents_cut_short": (lambda f: truncate(f / "contents.json"), "cannot be read"),
    "contents_of_another_kind": (
        lambda f: (f / "contents.json").write_text("[]"),
        "cannot be read",
    ),
    "arrays_missing": (lambda f: arrays_file(f).unlink(), "is missing"),
    "array_folder_missing": (lambda f: shutil.rmtree(f / "arrays"), "is missing"),
    "contents_missing": (lambda f: (f / "contents.json").unlink(), "it has no contents.json"),
}


def test_a_restored_checkpoint_equals_the_saved_one(saved):
    restored = saved.restore(tree())
    assert (restored.step, restored.facts) == (2, FACTS)
    assert_same(restored.tree, tree(2))


def test_a_subset_of_a_checkpoint_can_be_restored(saved):
    restored = saved.restore({"params": tree()["params"]}, subset=True)
    assert_same(restored.tree, {"params": tree(2)["params"]})


def test_the_newest_checkpoints_are_kept_and_others_deleted(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (5, 10, 15):
        checkpoints.save(step, tree(step), FACTS)
    assert checkpoints.steps() == [10, 15]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_10", "step_15"]


@pytest.mark.parametrize("harm, words", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_is_named_and_an_older_one_restored(saved, harm, words):
    harm(saved.folder / "step_2")
    with pytest.warns(DamageWarning, match=f"step 2 is not used: .*({words}).*step 1 is"):
        restored = saved.restore(tree())
    assert restored.step == 1
    assert_same(restored.tree, tree(1))


def test_damaged_checkpoints_only_are_an_error(saved):
    for step in (1, 2):
        truncate(saved.folder / f"step_{step}" / "contents.json")
    with pytest.raises(InputError, match=r"no valid checkpoint.*step 2: .*step 1: .*out_dir"):
        saved.restore(tree())


def test_an_incomplete_save_is_ignored(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.restore(tree()) is None
    (tmp_path / "step_3" / "arrays.orbax-checkpoint-tmp").mkdir(parents=True)
    with pytest.warns(DamageWarning, match="step 3 is not used"):
        assert checkpoints.restore(tree()) is None
    checkpoints.save(3, tree(3), FACTS)
    assert_same(checkpoints.restore(tree()).tree, tree(3))


def test_a_damaged_checkpoint_can_be_saved_again(saved):
    flip_bit(arrays_file(saved.folder / "step_2"))
    saved.save(2, tree(2), FACTS)
    assert_same(saved.restore(tree()).tree, tree(2))


def test_checkpoints_later_than_the_restored_one_are_renamed(saved):
    saved.set_aside(1)
    assert saved.steps() == [1]
    assert (saved.folder / "damaged_2.1" / "contents.json").exists()


MISMATCH = {
    "shape": (
        lambda t: t | {"step": jnp.zeros(3, jnp.int32)},
        r"step should be int32\[3\], found int32\[\]",
    ),
    "dtype": (
        lambda t: t | {"step": jnp.float32(0)},
        r"step should be float32\[\], found int32\[\]",
    ),
    "missing": (lambda t: t | {"w_h": jnp.zeros(2)}, r"w_h should be float32\[2\], found nothing"),
    "extra": (lambda t: {"params": t["params"]}, "it has key, and the model does not"),
    "field": (lambda t: t | {"params": tuple(t["params"])}, r"params.0 should be .*found nothing"),
}


@pytest.mark.parametrize("change, words", MISMATCH.values(), ids=MISMATCH)
def test_a_mismatch_names_expected_and_found_values(saved, change, words):
    with pytest.raises(InputError, match=words):
        saved.restore(change(tree()))


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_arrays_of_two_devices_are_restored_on_any_number(tmp_path, devices):
    split = NamedSharding(data_mesh(8, 2), P("data"))
    whole = {"w": np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, jax.device_put(whole, split), FACTS)
    restored = checkpoints.restore(whole).tree
    placed = jax.device_put(restored, replicated(data_mesh(8, devices)))
    assert_same(placed, whole)


def test_a_relative_folder_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Checkpoints(Path("run")).save(1, tree(), FACTS)
    assert Checkpoints(tmp_path / "run").steps() == [1]


def test_a_failed_save_gives_the_reason_and_keeps_older_checkpoints(saved, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ocp.StandardCheckpointer, "save", full)
    with pytest.raises(RunError, match=r"step 3 could not be saved.*No space left.*resume=True"):
        saved.save(3, tree(3), FACTS)
    monkeypatch.undo()
    with pytest.warns(DamageWarning, match="step 3"):
        assert saved.restore(tree()).step == 2


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=re.escape(str(tmp_path / "file"))):
        Checkpoints(tmp_path / "file").save(1, tree(), FACTS)


def test_the_contents_name_every_leaf_with_shape_dtype_and_digest(saved):
    stored = json.loads((saved.folder / "step_2" / "contents.json").read_text())
    leaves = json.loads(stored["contents"])["leaves"]
    assert set(leaves) == {"params.h", "params.c", "step", "key"}
    assert leaves["params.h"]["shape"] == [64, 16]
    assert leaves["params.c"]["dtype"] == "bfloat16"
    assert len(leaves["step"]["sha256"]) == 64
