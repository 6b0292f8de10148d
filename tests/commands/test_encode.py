"""vae-encode: the rows are those of model.encode, the formats agree, and what is refused."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY, Command, TinyImages, composing
from hydra import compose
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from vae_lightning import VAE, InputError, MNIST5kDataModule, load_run
from vae_lightning.commands.encode import encode
from vae_lightning.evaluation.features import encode_images
from vae_lightning.evaluation.latents import encode_data, latents_table
from vae_lightning.models.eval_mode import eval_mode
from vae_lightning.posteriors.rules import SUPPORTS
from vae_lightning.runs.directory import clear
from vae_lightning.runs.training import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the packaged digits, in a folder with characters that Hydra only takes in quotes."""
    run = tmp_path_factory.mktemp("finished") / "seed=0,x=1"
    real = ["data._target_=vae_lightning.data.MNIST5kDataModule", "data.val_size=3900", "model.latent_dim=3"]
    with composing():
        train(compose("train", [f"run_dir='{run}'", "sweep.name=test", *TINY, *real, "data.batch_size=100"]))
    return run


def encoded(run: Path, *overrides: str) -> Path:
    with composing():
        return encode(compose("encode", [f"run='{run}'", *overrides]))


def test_the_rows_are_those_of_encode_and_of_the_probe(run: Path) -> None:
    arrays = np.load(encoded(run), allow_pickle=False)
    loaded = load_run(run)
    data: Any = loaded.data
    data.setup()
    train_images, test_images = MNIST5kDataModule().read()
    assert arrays["split"].tolist() == 100 * ["train"] + 3900 * ["val"] + 1000 * ["test"]
    for split, (images, labels) in {"train": train_images, "val": train_images, "test": test_images}.items():
        rows = {name: array[arrays["split"] == split] for name, array in arrays.items()}
        with eval_mode(loaded.vae):
            posterior = loaded.vae.encode(images[rows["index"]] / 255)  # by the position in the data set
            kl = posterior.kl(loaded.vae.prior_distribution())
        assert np.array_equal(rows["label"], labels[rows["index"]].numpy())
        for name, expected in {"mean": posterior.mean, **posterior._asdict(), "kl_by_dimension": kl}.items():
            np.testing.assert_allclose(rows[name], expected.numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(rows["kl"], kl.sum(-1).numpy(), rtol=1e-5, atol=1e-5)
    probed = encode_images(loaded.vae, data.test_dataloader())
    assert np.array_equal(arrays["mean"][4000:], probed.mu)
    assert np.array_equal(arrays["label"][4000:], probed.labels)
    assert arrays["kl"][4000:].mean() == pytest.approx(loaded.metrics["test/kl"], rel=1e-5)
    assert sorted(arrays["index"][:4000]) == [*range(4000)]


def test_the_formats_agree(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = np.load(encoded(run, f"output={tmp_path / 'a.npz'}", "split=test"))
    csv = pd.read_csv(encoded(run, f"output={tmp_path / 'a.csv'}", "split=test"))
    parquet = pd.read_parquet(encoded(run, f"output={tmp_path / 'a.parquet'}", "split=test"))
    assert [*csv] == [*parquet] == [*latents_table(dict(arrays))]
    assert {"split", "index", "label", "mean_0", "mean_2", "mu_0", "logvar_2", "kl", "kl_by_dimension_0"} < {*csv}
    for table in (csv, parquet):
        assert table["split"].tolist() == 1000 * ["test"]
        for name in ("index", "label", "kl"):
            assert np.array_equal(table[name].to_numpy(arrays[name].dtype), arrays[name]), name
        for name in ("mean", "mu", "logvar", "kl_by_dimension"):
            columns = table.filter(regex=f"^{name}_\\d+$").to_numpy(np.float32)
            assert np.array_equal(columns, arrays[name]), name
    names: dict[str, Any] = {"pandas": pd}
    exec("\n".join(line.strip() for line in capsys.readouterr().out.splitlines()[-2:]), names)
    assert np.array_equal(names["mean"], arrays["mean"])


@pytest.mark.parametrize("name", [*sorted(SUPPORTS), "TwoLayers"])
def test_every_posterior_has_its_parameters_and_its_kl_if_it_is_known(name: str) -> None:
    estimator = {"_target_": "vae_lightning.estimators.LeaveOneOut"}  # which takes any posterior
    posterior_node = {"_target_": f"vae_lightning.posteriors.{name}"}
    vae = VAE(latent_dim=3, widths=[8], posterior=posterior_node, estimator=estimator)
    arrays = encode_data(vae, TinyImages(val_size=20, eval_batch_size=7))
    assert {len(values) for values in arrays.values()} == {80}
    with eval_mode(vae):
        images = torch.zeros(1, *vae.image_shape)
        posterior = vae.encode(images)
        kl = posterior.kl(vae.prior_distribution())
    for parameter, values in posterior.named().items():
        assert arrays[parameter].shape == (80, *values.shape[1:])
    assert arrays["mean"].shape == (80, vae.posterior.size)
    assert ("kl" in arrays, "kl_by_dimension" in arrays) == (kl is not None, kl is not None and vae.factorised)
    table = latents_table(arrays)
    assert len(table.columns) == sum(int(np.prod(values.shape[1:])) for values in arrays.values())


def test_a_model_that_sees_labels_gets_them() -> None:
    vae, data = VAE(latent_dim=3, widths=[8], classes=10), TinyImages(val_size=0)
    arrays = encode_data(vae, data)
    images, labels = data.read()[0]
    with eval_mode(vae):
        expected = vae.encode(vae.examples((images / 255, labels))).mu.numpy()
    np.testing.assert_allclose(arrays["mu"][:60], expected, rtol=1e-4, atol=1e-5)


class Unlabelled(LightningDataModule):
    """20 images of another framework, for test alone."""

    def test_dataloader(self) -> DataLoader[Tensor]:
        images: Any = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        return DataLoader(images, batch_size=8)


def test_data_of_any_origin_are_encoded_in_the_order_of_their_batches() -> None:
    vae, data = VAE(latent_dim=3, widths=[8]), Unlabelled()
    arrays = encode_data(vae, data, "test")
    assert "label" not in arrays
    assert arrays["index"].tolist() == [*range(20)]
    for split in ("all", "train"):
        with pytest.raises(InputError, match=f"^split={split}: must be test or val, unless data is an ImageDataModule"):
            encode_data(vae, data, split)
    with pytest.raises(InputError, match=r"^split=val: must be another, because the data have no such images$"):
        encode_data(vae, data, "val")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Own images, other ones than the run's."""
    images: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (30, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", images=images, labels=np.arange(30) % 3)
    return tmp_path / "own.npz"


def test_the_command_encodes_other_images_and_prints_what_reads_them(
    run: Path, files: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ["data=files", "data.path=own.npz", "data.val_size=0", "data.test_size=10"]
    done = command("encode", str(run), *own, "output=new/latents=1.npz")
    assert (done.returncode, done.stderr) == (0, "")
    said, usage = done.stdout.split("\n\n")
    assert said.splitlines() == [
        "written to new/latents=1.npz: 20 train, 10 test images, by the weights of epoch 2 (last.ckpt)",
        "  split, index, label, kl: (30,)",
        "  mean, mu, logvar, kl_by_dimension: (30, 3)",
    ]
    monkeypatch.chdir(files.parent)
    names: dict[str, Any] = {"numpy": np}
    exec("\n".join(line.strip() for line in usage.splitlines() if line.startswith("  ")), names)
    assert (names["mean"].shape, sorted({*names["label"]})) == ((30, 3), [0, 1, 2])


def test_a_kl_without_a_closed_form_is_said_to_be_left_out(
    tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with composing():
        train(compose("train", [f"run_dir='{tmp_path / 'run'}'", "sweep.name=test", *TINY, "prior=mixture"]))
    assert "kl" not in np.load(encoded(tmp_path / "run"))
    assert "kl is left out, because it has no closed form between Gaussian and Mixture" in capsys.readouterr().out


def test_other_pixels_than_those_of_the_training_are_said(
    run: Path, files: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = ["data=files", f"data.path={files}", "data.val_size=0", "data.test_size=10", f"output={tmp_path / 'a.npz'}"]
    encoded(run, *own)
    assert caplog.messages == []
    grey = np.load(tmp_path / "a.npz")["mean"]
    assert not np.array_equal(grey, np.load(encoded(run, *own, "data.binarisation=threshold"))["mean"])
    assert "data.binarisation=threshold: the model was trained on images with data.binarisation=none" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["seed=3"], "seed=3: must be one of 0"),
        (["run=nowhere"], "run=nowhere: must be a run directory, but nowhere/.hydra/config.yaml does not exist"),
        (["run=???"], "run: must be a run directory"),
        (["split=tests"], "split=tests: must be one of all, train, val, test"),
        (["output=a.txt"], "output=a.txt: must be a file whose name ends in .npz, .csv or .parquet, or null"),
        (["output=.csv"], "output=.csv: must be a file whose name ends in"),
        (["data.root=x"], "data.root=x: there is no such name; "),
    ],
)
def test_bad_input_is_refused(arguments: list[str], said: str, run: Path) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(said)}"):
        encoded(run, *arguments)


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data=mnst"], "data=mnst: there is no such name; did you mean mnist?"),
        (["data=files"], "data.path=None: must be a non-empty string"),
        (["data=mnist", "data.val_size=60000"], "data.val_size=60000: must be a whole number from 0 to 59999"),
    ],
)
def test_it_is_refused_in_one_line_before_torch_is_imported(
    arguments: list[str], said: str, run: Path, command: Command
) -> None:
    done = command("encode", str(run), *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {said}")
    assert done.stderr.count("\n") == 1


def test_images_of_another_shape_are_refused_and_nothing_is_written(run: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", images=np.zeros((30, 8, 8, 3), dtype=np.uint8), labels=np.arange(30))
    own = ["data=files", f"data.path={tmp_path / 'own.npz'}", "data.val_size=0", "data.test_size=1"]
    with pytest.raises(InputError, match=r"^data: has images of shape \(3, 8, 8\), but the model takes \(1, 28, 28\)$"):
        encoded(run, *own, f"output={tmp_path / 'a.npz'}")
    assert [path.name for path in tmp_path.iterdir()] == ["own.npz"]


def test_a_folder_and_a_missing_extra_are_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.npz").mkdir()
    with pytest.raises(InputError, match=r"a\.npz: must be a file, but is a folder$"):
        encoded(run, f"output={tmp_path / 'a.npz'}")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"a\.parquet: needs an extra: pip install 'vae-lightning\[parquet\]'$"):
        encoded(run, f"output={tmp_path / 'a.parquet'}")


def test_a_failed_write_leaves_the_old_file(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text("old")

    def fail(table: pd.DataFrame, file: Any, **_: Any) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    with pytest.raises(KeyboardInterrupt):
        encoded(run, f"output={tmp_path / 'a.csv'}")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.csv": "old"}


def test_a_run_that_starts_over_has_no_latents_of_the_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "latents.npz").touch()
    clear(tmp_path)
    assert not (tmp_path / "latents.npz").exists()
