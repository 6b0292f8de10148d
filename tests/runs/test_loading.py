"""load_run reads runs and published folders, and refuses what could run code."""

import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, composing, metrics_of
from hydra import compose
from lightning.pytorch import Trainer
from torch import Tensor, nn

from vae_lightning import VAE, InputError, load_run
from vae_lightning.models.eval_mode import eval_mode
from vae_lightning.reports.publishing import publish
from vae_lightning.runs.published import write_published
from vae_lightning.runs.training import train

# A data set that only the tests have; a published folder names the package's own.
REAL = ["data._target_=vae_lightning.data.MNIST5kDataModule", "data.val_size=3900"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("private") / "run"
    with composing():
        train(compose("train", [f"run_dir='{run}'", "sweep.name=test", *TINY, *REAL]))
    return run


@pytest.fixture(scope="module")
def published(finished: Path) -> Path:
    publish(finished, "last", finished.parent / "digits", onnx=False)
    return finished.parent / "digits"


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A published folder of the test's own."""
    return shutil.copytree(published, tmp_path / "folder")


def same_weights(one: VAE, other: VAE) -> bool:
    there = other.state_dict()
    return one.state_dict().keys() == there.keys() and all(
        torch.equal(weight, there[name]) for name, weight in one.state_dict().items()
    )


def test_a_published_folder_gives_the_run(finished: Path, published: Path) -> None:
    run, again = load_run(finished), load_run(published)
    assert same_weights(run.vae, again.vae)
    assert (run.vae.training, again.vae.training) == (False, False)
    assert run.metrics == metrics_of(finished)
    for loaded in (run, again):
        trainer = Trainer(logger=False, enable_progress_bar=False, accelerator="cpu")
        (found,) = trainer.test(loaded.vae, datamodule=loaded.data, verbose=False)
        assert found["test/loss"] == metrics_of(finished)["test/loss"] == loaded.metrics["test/loss"]


def test_the_checkpoint_of_a_run_is_chosen(finished: Path, published: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "run")
    content = torch.load(copy / "checkpoints/best.ckpt", weights_only=True)
    content["state_dict"] = {name: weight / 2 for name, weight in content["state_dict"].items()}
    torch.save(content, copy / "checkpoints/best.ckpt")
    assert same_weights(load_run(copy).vae, load_run(copy, "last").vae)
    assert not same_weights(load_run(copy).vae, load_run(copy, "best").vae)
    with pytest.raises(InputError, match=r"^checkpoint=best: must be None, because .* holds the weights of one"):
        load_run(published, "best")


def test_the_data_are_where_the_user_says(folder: Path) -> None:
    config = (folder / "config.yaml").read_text().replace("MNIST5kDataModule", "MNISTDataModule")
    # Whoever wrote the folder neither chooses where files are written nor whence they are downloaded.
    config = config.replace("data:\n", "data:\n  root: /theirs\n  mirror: https://theirs\n  device: cuda\n")
    (folder / "config.yaml").write_text(config)
    data: Any = load_run(folder).data
    assert (data.root, data.mirror, data.device) == (Path("data"), None, "cpu")
    data = load_run(folder, data={"root": "mine"}).data
    assert data.root == Path("mine")
    other = load_run(folder, data={"_target_": "vae_lightning.data.KMNISTDataModule", "root": "mine"}).data
    assert type(other).__name__ == "KMNISTDataModule"


def test_the_model_loads_without_its_data(folder: Path) -> None:
    config = (folder / "config.yaml").read_text().replace("MNIST5kDataModule", "FilesDataModule")
    (folder / "config.yaml").write_text(config)
    loaded = load_run(folder)
    assert loaded.vae.sample(2).shape == (2, 1, 28, 28)
    with pytest.raises(InputError, match=r"^data: FilesDataModule refuses its arguments: [^\n]*'path'$"):
        _ = loaded.data


EVIL = """
from pathlib import Path
Path(__file__).with_suffix(".ran").touch()
from vae_lightning import VAE, MNIST5kDataModule
class Model(VAE): pass
class Data(MNIST5kDataModule): pass
"""


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that leaves a trace when it is imported: the path of the trace."""
    (tmp_path / "evil.py").write_text(EVIL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "evil", raising=False)
    return tmp_path / "evil.ran"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("vae_lightning.models.VAE", "evil.Model"),
        ("vae_lightning.posteriors.Gaussian", "evil.Posterior"),
        ("torch.optim.Adam", "evil.Optimizer"),
        ("torch.optim.Adam", "vae_lightning_evil.Optimizer"),
        # A name that one of our modules has imported.
        ("vae_lightning.posteriors.Gaussian", "vae_lightning.models.vae.nn.Linear"),
    ],
)
def test_classes_from_elsewhere_are_refused_before_they_are_imported(
    ours: str, theirs: str, folder: Path, evil: Path
) -> None:
    config = (folder / "config.yaml").read_text()
    assert ours in config
    (folder / "config.yaml").write_text(config.replace(ours, theirs))
    with pytest.raises(InputError, match=rf"_target_={re.escape(theirs)}: must be a class of vae_lightning or torch"):
        load_run(folder)
    assert not evil.exists()


def test_trusted_folders_may_name_any_class(folder: Path, evil: Path) -> None:
    config = (folder / "config.yaml").read_text().replace("vae_lightning.models.VAE", "evil.Model")
    (folder / "config.yaml").write_text(config)
    assert type(load_run(folder, trusted=True).vae).__name__ == "Model"
    assert evil.exists()


def test_data_from_elsewhere_are_refused_when_they_are_asked_for(folder: Path, evil: Path) -> None:
    config = (folder / "config.yaml").read_text().replace("vae_lightning.data.MNIST5kDataModule", "evil.Data")
    (folder / "config.yaml").write_text(config)
    loaded = load_run(folder)
    with pytest.raises(InputError, match=r"^data\._target_=evil\.Data: must be a class of vae_lightning"):
        _ = loaded.data
    assert not evil.exists()
    assert type(load_run(folder, trusted=True).data).__name__ == "Data"


def test_no_secret_of_the_environment_enters_a_configuration(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "relu")
    config = (folder / "config.yaml").read_text()
    assert "activation: relu" in config
    (folder / "config.yaml").write_text(config.replace("activation: relu", "activation: ${oc.env:SECRET}"))
    with pytest.raises(InputError, match=r"activation=\$\{oc\.env:SECRET\}: must be relu"):
        load_run(folder)


def test_damaged_files_are_refused(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-1])
    with pytest.raises(InputError, match=r"model\.safetensors: does not fit the model: "):
        load_run(folder)
    (folder / "config.yaml").write_text("{")
    with pytest.raises(InputError, match=r"config\.yaml: cannot be read"):
        load_run(folder)


class Tied(nn.Module):
    """An encoder with one weight under two names, and a buffer."""

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int) -> None:
        super().__init__()
        self.first = nn.Linear(784, 2 * latent_dim)
        self.second = nn.Linear(784, 2 * latent_dim)
        self.second.weight = self.first.weight
        self.register_buffer("scale", torch.full((1,), 3.0))

    def forward(self, images: Tensor) -> Tensor:
        flat = self.get_buffer("scale") * images.flatten(1)
        pixels: Tensor = self.first(flat) + self.second(flat)
        return pixels


def test_shared_weights_and_buffers_are_kept(images: Tensor, tmp_path: Path) -> None:
    vae = VAE(latent_dim=3, encoder={"_target_": f"{__name__}.Tied"})
    vae.encoder.get_buffer("network.scale").fill_(2.0)
    config = {"data": {}, "model": {"_target_": "vae_lightning.models.VAE"}, "callbacks": {}, "run_dir": "run"}
    write_published(tmp_path, vae, config, {})
    with pytest.raises(InputError, match=r"trusted=True"):
        load_run(tmp_path)
    again = load_run(tmp_path, trusted=True).vae
    assert same_weights(vae, again)
    assert again.encoder.network.first.weight is again.encoder.network.second.weight  # type: ignore[union-attr]
    with eval_mode(vae):
        assert torch.equal(again.encode(images).mu, vae.encode(images).mu)


def test_a_model_that_needs_a_path_is_not_published(tmp_path: Path) -> None:
    vae = VAE(latent_dim=3)
    vae.hparams["encoder"] = {"_target_": "mine.Encoder", "weights": "/home/me/encoder.pt"}
    with pytest.raises(InputError, match=r"^model\.encoder\.weights=/home/me/encoder\.pt: must not be a path"):
        write_published(tmp_path, vae, {"model": {"_target_": "vae_lightning.models.VAE"}}, {})
    assert not [*tmp_path.iterdir()]


def test_a_published_folder_tells_nothing_of_the_machine(finished: Path, published: Path) -> None:
    told = "".join(path.read_text() for path in published.iterdir() if path.suffix in (".md", ".yaml", ".json"))
    for secret in (str(finished), str(finished.parent), finished.parent.name, socket.gethostname() + ".", os.getcwd()):
        assert secret not in told
    assert "run_dir" not in told
    assert "logger" not in told


# On Hugging Face.


@pytest.fixture
def hub(published: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A hub whose every repository is the published folder: the calls."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    calls: list[dict[str, Any]] = []

    def snapshot_download(repo_id: str, **options: Any) -> str:
        calls.append({"repo_id": repo_id, **options})
        return str(published)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return calls


@pytest.mark.parametrize(("name", "revision"), [("hf://user/name", None), ("hf://user/name@v1", "v1")])
def test_a_repository_is_downloaded_and_read(
    name: str, revision: str | None, hub: list[dict[str, Any]], finished: Path
) -> None:
    assert same_weights(load_run(name).vae, load_run(finished).vae)
    wanted = ["config.yaml", "model.safetensors", "metrics.json"]
    assert hub == [{"repo_id": "user/name", "revision": revision, "allow_patterns": wanted}]


def test_a_name_without_its_scheme_downloads_nothing(hub: list[dict[str, Any]]) -> None:
    with pytest.raises(InputError, match=r"^run=user/name: there is no such folder; hf://user/name names a repository"):
        load_run("user/name")
    assert hub == []


def test_a_failed_download_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise OSError("401 Client Error.\n\nRepository Not Found")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(InputError, match=r"^hf://user/name: cannot be downloaded: 401 Client Error\.$"):
        load_run("hf://user/name")


@pytest.mark.parametrize(
    ("package", "name"), [("huggingface_hub", lambda folder: "hf://user/name"), ("safetensors", lambda folder: folder)]
)
def test_a_missing_extra_is_named(
    package: str, name: Callable[[Path], str | Path], published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"pip install 'vae-lightning\[hub\]'$"):
        load_run(name(published))


def test_the_published_metrics_are_those_of_the_run(finished: Path, published: Path) -> None:
    assert json.loads((published / "metrics.json").read_text()) == metrics_of(finished)
