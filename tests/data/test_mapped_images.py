"""Memory-mapped arrays: the same results as in memory, without the memory."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Command, Compose, check_same_bits, losses, metrics_of

from vae_lightning import FilesDataModule, InputError
from vae_lightning.data import files
from vae_lightning.data.mapped_images import MappedImages
from vae_lightning.memory import available_memory
from vae_lightning.runs.training import train


def save(folder: Path, dtype: str = "uint8", shape: tuple[int, ...] = (5, 4, 3), count: int = 90) -> Path:
    source = np.random.default_rng(0)
    images = source.integers(0, 256, (count, *shape)) if dtype == "uint8" else source.random((count, *shape))
    folder.mkdir(exist_ok=True)
    np.save(folder / "images.npy", images.astype(dtype))
    np.save(folder / "labels.npy", np.arange(count) % 3)
    return folder


def test_only_what_is_selected_is_read() -> None:
    read = []
    file = torch.arange(24, dtype=torch.uint8).view(6, 1, 2, 2)
    images = MappedImages(file, lambda part: read.append(len(part)))
    subset = images.subset(torch.tensor([5, 1, 3])).subset(torch.tensor([2, 0]))
    assert (tuple(subset.shape), subset.dtype, len(subset), read) == ((2, 1, 2, 2), torch.uint8, 2, [])
    assert torch.equal(subset.index_select(0, torch.tensor([1])), file[[5]])
    assert read == [1]
    assert torch.equal(subset, file[[3, 5]])  # any other operation
    assert subset.float().mean() == file[[3, 5]].float().mean()
    assert "(2, 1, 2, 2)" in repr(subset)


@pytest.mark.parametrize("binarisation", ["none", "threshold"])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(5, 4), (3, 5, 4), (5, 4, 3)])
def test_batches_are_the_same_as_in_memory(
    shape: tuple[int, ...], dtype: str, binarisation: str, tmp_path: Path
) -> None:
    path, sets = str(save(tmp_path / "set", dtype, shape)), []
    for memory_map in (True, False):
        data = FilesDataModule(
            path, memory_map, 20, val_size=10, batch_size=16, block_size=2, binarisation=binarisation
        )
        data.setup()
        images, order = data.training(seed=1)
        order.set_epoch(2)
        assert isinstance(images.data.images, MappedImages) == memory_map
        batches = [*(images[rows] for rows in order), *data.val_dataloader(), *data.test_dataloader()]
        sets.append([tensor for batch in batches for tensor in batch])
    assert len(sets[0]) == len(sets[1]) == 2 * (2 + 1 + 1 + 1)
    for mapped, kept in zip(*sets, strict=True):
        assert torch.equal(mapped, kept)
        assert mapped.dtype == kept.dtype
        assert mapped.stride() == kept.stride()


OPTIONS = ["data=files", "data.test_size=20", "data.val_size=20", "data.batch_size=16", "trainer=cpu"]
SMALL = [*OPTIONS, "trainer.max_epochs=2", "model.widths=[8]", "model.latent_dim=2"]


@pytest.mark.parametrize("block_size", [1, 2])
def test_a_run_has_the_same_bits(block_size: int, composed: Compose, tmp_path: Path) -> None:
    for memory_map in ("true", "false"):
        given = [f"data.path={save(tmp_path / 'set', 'float32')}", f"data.memory_map={memory_map}"]
        train(composed(*SMALL, *given, f"data.block_size={block_size}", run=memory_map))
    check_same_bits(tmp_path / "true", tmp_path / "false")


def test_a_stack_has_the_same_bits(command: Command, tmp_path: Path) -> None:
    save(tmp_path / "set")
    jobs = ("seed=1", "seed=2")
    for memory_map in ("true", "false"):
        given = ["data.path=set", f"data.memory_map={memory_map}", f"sweep.name=map_{memory_map}", "seed=1,2"]
        done = command("train", "-m", *SMALL, *given, "callbacks.figures=null", "hydra/launcher=stacked")
        assert done.returncode == 0, done.stderr
        assert "stack 1 of 1: 2 models" in done.stdout
    for job in jobs:
        mapped, kept = (tmp_path / "outputs/sweeps" / name / job for name in ("map_true", "map_false"))
        assert losses(metrics_of(mapped)) == losses(metrics_of(kept))
        weights = [torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in (mapped, kept)]
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


def larger_than_memory(path: Path) -> int:
    """Write an array that is as large as the memory, of zeros that take no room on the disk."""
    count = (available_memory() or 1 << 34) // 1_000_000 + 1
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, 1000, 1000)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + count * 1_000_000)
    return count


def test_a_set_larger_than_memory_is_mapped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    count = larger_than_memory(tmp_path / "images.npy")
    data = FilesDataModule(str(tmp_path / "images.npy"))
    assert data.image_shape == (1, 1000, 1000)
    with caplog.at_level(logging.INFO):
        data.setup()
    assert "memory-mapped, because the images take up to" in caplog.text
    images, order = data.training(seed=0)
    assert len(images) == count - 2000
    assert images[next(iter(order))][0].shape == (64, 1, 1000, 1000)


@pytest.mark.parametrize(("available", "mapped"), [(1, True), (10_801, False), (10_799, True), (None, False)])
def test_a_set_is_mapped_if_it_takes_more_than_half_of_the_memory(
    available: int | None, mapped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "available_memory", lambda: available)
    path = str(save(tmp_path / "set"))  # 5400 bytes

    def is_mapped(**options: Any) -> bool:
        data = FilesDataModule(path, test_size=20, val_size=20, **options)
        data.setup()
        return isinstance(data.test.data.images, MappedImages)

    assert is_mapped() == mapped
    assert not is_mapped(binarisation="dynamic")
    assert not is_mapped(memory_map=False)


def test_what_cannot_be_mapped_is_refused(tmp_path: Path) -> None:
    path = str(save(tmp_path / "set"))
    with pytest.raises(InputError, match=r"^data\.device=cuda: must be cpu, because data\.memory_map=true"):
        FilesDataModule(path, memory_map=True, device="cuda")
    with pytest.raises(InputError, match=r"^data\.binarisation=dynamic: must be none or threshold, because"):
        FilesDataModule(path, memory_map=True, binarisation="dynamic")
    np.savez(tmp_path / "set.npz", images=np.zeros((9, 5, 4), np.uint8))
    data = FilesDataModule(str(tmp_path / "set.npz"), memory_map=True, test_size=1, val_size=1)
    with pytest.raises(InputError, match=r"^data\.memory_map=True: must be auto or False, because .*images.npy"):
        data.setup()
    np.save(tmp_path / "set/images.npy", np.full((90, 5, 4), 255.0))
    with pytest.raises(InputError, match=r"images.npy: holds values from 255 to 255; .*to convert them: "):
        FilesDataModule(path, memory_map=True, test_size=1, val_size=1).setup()
