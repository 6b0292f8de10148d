"""ONNX files and folders to publish: the numbers are torch's, the command, and what is refused."""

import json
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from conftest import SMALL, Command, Compose, composing, fake_job, metrics_of
from hydra import compose
from numpy.typing import NDArray
from torch import Tensor, nn

from vae_lightning import VAE, InputError
from vae_lightning.commands.export import export
from vae_lightning.config.resolving import resolved
from vae_lightning.config.targets import build
from vae_lightning.models.eval_mode import eval_mode
from vae_lightning.models.onnx import ONNXFiles, export_onnx
from vae_lightning.posteriors.rules import SUPPORTS
from vae_lightning.runs.directory import clear
from vae_lightning.runs.training import train
from vae_lightning.streams import generator

Arrays = list[NDArray[np.float32]]


def outputs(file: Path, name: str, batch: Tensor) -> list[Tensor]:
    """What onnxruntime makes of a batch."""
    arrays: Arrays = onnxruntime.InferenceSession(file).run(None, {name: batch.numpy()})
    return [torch.from_numpy(array) for array in arrays]


def check_same_numbers(files: ONNXFiles, vae: VAE, images: Tensor) -> None:
    # Far out too, where pixels are nearly black or white.
    z = 10 * torch.randn(len(images), vae.latent_dim, generator=generator(0, "test"), dtype=images.dtype)
    with eval_mode(vae):
        posterior, logits = vae.encode(images), vae.decode(z)
        expected = [*posterior, vae.likelihood.mean(logits), logits]
    found = outputs(files.encoder, "images", images) + outputs(files.decoder, "z", z)
    # In single precision the continuous Bernoulli's mean is known no closer, for its terms nearly cancel.
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "likelihood"),
    [
        ("mlp", "bernoulli"),
        ("mlp", "continuous_bernoulli"),
        ("mlp", "gaussian"),
        ("conv", "bernoulli"),
        ("residual", "continuous_bernoulli"),
    ],
)
def test_onnxruntime_gives_the_numbers_of_torch_for_any_batch(
    kind: str, likelihood: str, composed: Compose, images: Tensor, tmp_path: Path
) -> None:
    options = [f"model={kind}", f"likelihood={likelihood}", "model.image_shape=[1,28,28]", "model.latent_dim=5"]
    vae = build("model", resolved(composed(*options))["model"], VAE)
    assert type(vae.likelihood).__name__.lower() == likelihood.replace("_", "")
    files = export_onnx(vae, tmp_path)
    for count in (1, 7, 1000):
        check_same_numbers(files, vae, images.repeat(10, 1, 1, 1)[:count])


def test_a_model_in_double_precision_stays_so(images: Tensor, tmp_path: Path) -> None:
    vae = VAE(latent_dim=3).double()
    files = export_onnx(vae, tmp_path)
    check_same_numbers(files, vae, images.double())


def test_the_files_say_what_goes_in_and_comes_out(tmp_path: Path) -> None:
    files = export_onnx(VAE(latent_dim=3, image_shape=[3, 8, 4]), tmp_path / "new" / "folder")
    assert files == (tmp_path / "new/folder/encoder.onnx", tmp_path / "new/folder/decoder.onnx")
    sessions = [onnxruntime.InferenceSession(file) for file in files]
    shapes = [
        {node.name: node.shape for node in nodes}
        for session in sessions
        for nodes in (session.get_inputs(), session.get_outputs())
    ]
    images, latents = ["N", 3, 8, 4], ["N", 3]
    assert shapes == [
        {"images": images},
        {"mu": latents, "logvar": latents},
        {"z": latents},
        {"images": images, "logits": images},
    ]


def test_a_file_tells_nothing_of_the_machine_and_holds_no_weight_that_it_does_not_need(tmp_path: Path) -> None:
    vae = VAE()
    files = export_onnx(vae, tmp_path)
    for file, network in zip(files, (vae.encoder, vae.decoder), strict=True):
        content = file.read_bytes()
        assert b".py" not in content
        needed = sum(weight.nbytes for weight in network.parameters())
        assert needed < len(content) < needed + 20_000


class Dropped(nn.Sequential):
    """An encoder that draws noise in training."""

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int) -> None:
        super().__init__(nn.Flatten(), nn.Dropout(), nn.LazyLinear(2 * latent_dim))


class Fixed(nn.Module):
    """A decoder for two latents at a time, and no other number."""

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int) -> None:
        super().__init__()
        self.linear, self.shape = nn.Linear(latent_dim, 784), image_shape

    def forward(self, z: Tensor) -> Tensor:
        pixels: Tensor = self.linear(z)
        return pixels.view(2, *self.shape)


def test_networks_are_exported_in_evaluation_mode_and_left_in_their_own(images: Tensor, tmp_path: Path) -> None:
    vae = VAE(encoder={"_target_": f"{__name__}.Dropped"}).train()
    vae.decoder.eval()
    before = {name: weight.clone() for name, weight in vae.state_dict().items()}
    files = export_onnx(vae, tmp_path)
    check_same_numbers(files, vae, images)
    assert (vae.training, vae.encoder.training, vae.decoder.training) == (True, True, False)
    assert all(torch.equal(weight, before[name]) for name, weight in vae.state_dict().items())
    assert all(weight.requires_grad for weight in vae.parameters())


def test_what_onnx_cannot_express_is_refused_and_the_old_files_stay(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = export_onnx(VAE(), tmp_path)
    before = [file.read_bytes() for file in files]
    said = r"^decoder: cannot be exported to ONNX with a variable number of images: [^\n]+$"
    with pytest.raises(InputError, match=said):
        export_onnx(VAE(seed=1, decoder={"_target_": f"{__name__}.Fixed"}), tmp_path)
    assert [file.read_bytes() for file in files] == before
    export_onnx(VAE(seed=1), tmp_path)
    assert all(file.read_bytes() != old for file, old in zip(files, before, strict=True))
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose best checkpoint has other weights than the last."""
    run = tmp_path_factory.mktemp("finished") / "run"
    few = ["trainer.max_epochs=1", "callbacks.probe=null", "callbacks.figures=null"]
    with composing():
        train(compose("train", [f"run_dir='{run}'", "sweep.name=test", *SMALL, *few]))
    content = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    content["state_dict"] = {name: weight / 2 for name, weight in content["state_dict"].items()}
    torch.save(content, run / "checkpoints/best.ckpt")
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """The same, the test's own."""
    return shutil.copytree(finished, tmp_path / "run")


def exported(run: Path, *overrides: str) -> ONNXFiles:
    with composing():
        files = export(compose("export", [f"run='{run}'", *overrides]))
    assert isinstance(files, ONNXFiles)
    return files


def test_the_command_prints_what_loads_the_files(
    run: Path, images: Tensor, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command("export", "run=run")
    assert (done.returncode, done.stderr) == (0, "")
    said, usage = done.stdout.split("\n\n")
    assert said.splitlines() == [
        "written to run/export/encoder.onnx: images (N, 1, 28, 28) in [0, 1] to mu (N, 20), logvar (N, 20)",
        "written to run/export/decoder.onnx: z (N, 20) to images in [0, 1] and logits (N, 1, 28, 28)",
    ]
    lines = [line.strip() for line in usage.splitlines() if line.startswith("  ")]
    names = {"onnxruntime": onnxruntime, "images": images.numpy()}
    monkeypatch.chdir(run.parent)
    exec("\n".join(lines), names)
    vae = VAE.load_from_checkpoint(run / "checkpoints/last.ckpt")
    torch.testing.assert_close(torch.from_numpy(names["images"]), vae(images).detach(), rtol=1e-5, atol=1e-5)
    clear(run)  # as restart=true does
    assert not (run / "export").exists()


def test_of_binarised_images_it_is_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = run / ".hydra/config.yaml"
    config.write_text(config.read_text().replace("binarisation: none", "binarisation: dynamic"))
    exported(run)
    assert "encoder.onnx: images (N, 1, 28, 28) of 0 and 1 to mu" in capsys.readouterr().out


def test_the_numbers_need_no_torch(run: Path, images: Tensor) -> None:
    files = exported(run)
    np.save(run / "images.npy", images.numpy())
    script = """if True:
        import sys
        import numpy, onnxruntime
        mu, logvar = onnxruntime.InferenceSession("export/encoder.onnx").run(None, {"images": numpy.load("images.npy")})
        numpy.save("mu.npy", mu)
        sys.exit("torch" in sys.modules)
    """
    assert subprocess.run([sys.executable, "-c", script], cwd=run).returncode == 0
    assert files.encoder == run / "export/encoder.onnx"
    vae = VAE.load_from_checkpoint(run / "checkpoints/last.ckpt")
    found = torch.from_numpy(np.load(run / "mu.npy"))
    torch.testing.assert_close(found, vae.encode(images).mu.detach(), rtol=1e-5, atol=1e-5)


def test_the_checkpoint_is_the_one_asked_for(run: Path, images: Tensor) -> None:
    for which in ("last", "best"):
        files = exported(run, f"checkpoint={which}")
        assert files == (run / "export/encoder.onnx", run / "export/decoder.onnx")
        check_same_numbers(files, VAE.load_from_checkpoint(run / f"checkpoints/{which}.ckpt"), images)


CONFIG, CHECKPOINT = ".hydra/config.yaml", "checkpoints/last.ckpt"


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (CHECKPOINT, lambda old: old[:-1000], r"last\.ckpt: cannot be loaded"),
        (CHECKPOINT, lambda old: pickle.dumps(print), r"last\.ckpt: cannot be loaded"),
        (
            CONFIG,
            lambda old: old.replace(b"vae_lightning.models.VAE", b"os.system"),
            r"model\._target_=os\.system: must be",
        ),
        (CONFIG, lambda old: old.replace(b"latent_dim: 20", b"latent_dim: 0"), r"model\.latent_dim=0: must be"),
        (CONFIG, lambda old: b"{", r"config\.yaml: cannot be read"),
    ],
)
def test_a_damaged_run_is_refused_and_nothing_written(
    name: str, change: Callable[[bytes], bytes], said: str, run: Path
) -> None:
    (run / name).write_bytes(change((run / name).read_bytes()))
    with pytest.raises(InputError, match=said):
        exported(run)
    assert not (run / "export").exists()


def test_a_run_without_such_a_checkpoint_is_refused(run: Path) -> None:
    (run / "checkpoints/best.ckpt").unlink()
    with pytest.raises(InputError, match=r"must be a run directory, but .*best\.ckpt does not exist"):
        exported(run, "checkpoint=best")


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_without_the_extra_it_is_named(package: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for attempt in (lambda: exported(run), lambda: export_onnx(VAE(), run / "export")):
        with pytest.raises(InputError, match=r"pip install 'vae-lightning\[onnx\]'$"):
            attempt()
    assert not (run / "export").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", [*sorted(SUPPORTS), "TwoLayers"])
def test_every_posterior_is_exported(name: str, tmp_path: Path, images: Tensor) -> None:
    estimator = {"_target_": "vae_lightning.estimators.LeaveOneOut"}  # which takes any posterior
    posterior_node = {"_target_": f"vae_lightning.posteriors.{name}"}
    vae = VAE(latent_dim=3, widths=[8], posterior=posterior_node, estimator=estimator)
    files = export_onnx(vae, tmp_path)
    with eval_mode(vae):
        expected = [*vae.encode(images).named().values()]
    torch.testing.assert_close(outputs(files.encoder, "images", images), expected, rtol=1e-4, atol=1e-5)


# A folder to publish.


def published(run: Path, to: Path, *overrides: str) -> Path:
    with composing():
        folder = export(compose("export", [f"run='{run}'", f"to='{to}'", *overrides]))
    assert isinstance(folder, Path)
    return folder


def test_the_folder_holds_what_is_printed_and_its_card_says_how_to_load_it(
    run: Path, images: Tensor, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run / "figures").mkdir(exist_ok=True)
    for name in ("samples", "reconstructions", "curves"):
        (run / f"figures/{name}.png").write_bytes(name.encode())
    done = command("export", "run", "to=new/digits", "license=mit")
    assert (done.returncode, done.stderr) == (0, "")
    folder = run.parent / "new/digits"
    listed = [line.split()[0] for line in done.stdout.split("\n\n")[0].splitlines()[1:]]
    written = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert sorted(listed) == written
    assert {"onnx/decoder.onnx", "figures/samples.png", "metrics.json"} < {*written}
    assert [path.name for path in folder.parent.iterdir()] == ["digits"]
    assert "figures/curves.png" not in written
    assert done.stdout.endswith("  hf upload USER/digits new/digits . --private\n")
    card = (folder / "README.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    names: dict[str, Any] = {"images": images}
    exec(example.replace("hf://USER/digits", str(folder)), names)
    vae = VAE.load_from_checkpoint(run / "checkpoints/last.ckpt")
    with eval_mode(vae):
        assert torch.equal(names["latents"].detach(), vae.encode(images).mu)
    assert names["drawn"].shape == (16, 1, 28, 28)
    check_same_numbers(ONNXFiles(folder / "onnx/encoder.onnx", folder / "onnx/decoder.onnx"), vae, images)


def test_the_card_has_metadata_and_the_numbers_of_the_run(run: Path, tmp_path: Path) -> None:
    metrics = metrics_of(run)
    for license in (None, "apache-2.0"):
        folder = published(run, tmp_path / f"digits_{license}", "onnx=false", f"license={license or 'null'}")
        card = (folder / "README.md").read_text()
        _, front, text = card.split("---\n", 2)
        metadata = yaml.safe_load(front)
        assert metadata.get("license") == license
        assert ("stated no licence" in text) == (license is None)
    assert metadata["library_name"] == "vae-lightning"
    assert metadata["datasets"] == ["ylecun/mnist"]
    (result,) = metadata["model-index"][0]["results"]
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values == {"loss": round(metrics["test/loss"], 4)}
    cells = [f"{metrics[f'{split}/loss']:.2f}" for split in ("train", "val", "test")]
    assert f"| negative ELBO | {' | '.join(cells)} |" in text
    assert "those of epoch 1" in text
    assert "linear layers, relu, hidden widths 128" in text


def test_numbers_and_pictures_of_other_weights_are_left_out(run: Path, tmp_path: Path) -> None:
    content = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    torch.save({**content, "epoch": 4}, run / "checkpoints/best.ckpt")
    (run / "figures").mkdir(exist_ok=True)
    (run / "figures/samples.png").touch()
    folder = published(run, tmp_path / "best", "checkpoint=best", "onnx=false")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.yaml", "model.safetensors"]
    assert "None were measured of these weights, those of epoch 5." in (folder / "README.md").read_text()

    # vae-eval measures them, and draws the pictures.
    protocol = {"epoch": 5, "split": "test", "images": 10, "samples": 20}
    measured = {"test/loss": 123.4, "test/log_likelihood": -98.76, "test/log_likelihood_standard_error": 0.54}
    (run / "evaluation.json").write_text(json.dumps({"protocol": protocol, **measured, "test/kl_per_dimension": [1]}))
    folder = published(run, tmp_path / "measured", "checkpoint=best", "onnx=false")
    assert json.loads((folder / "metrics.json").read_text()) == measured
    assert (folder / "figures/samples.png").exists()
    card = (folder / "README.md").read_text()
    assert "| negative ELBO | 123.40 |" in card
    assert "log p(x) of 10 test images is -98.76 ± 0.54 (standard error over images)" in card
    folder = published(run, tmp_path / "last", "onnx=false")
    assert not (folder / "evaluation.json").exists()
    assert not (folder / "figures").exists()
    assert json.loads((folder / "metrics.json").read_text()) == metrics_of(run)


def test_seeds_of_the_same_configuration_give_a_deviation(run: Path, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    for seed, loss in enumerate([100.0, 102.0, 104.0]):
        job = fake_job(sweep, {"model.latent_dim": 20, "seed": seed}, **{"test/loss": loss, "epochs": 1})
        shutil.copytree(run, job, dirs_exist_ok=True, ignore=shutil.ignore_patterns("metrics.json"))
    fake_job(sweep, {"model.latent_dim": 2, "seed": 0}, **{"test/loss": 500.0, "epochs": 1})
    fake_job(sweep, {"model.latent_dim": 20, "seed": 3})  # not complete
    card = (published(job, tmp_path / "digits", "onnx=false") / "README.md").read_text()
    assert "| negative ELBO | 104.00 |" in card
    assert "Of 3 models that differ in the seed alone, this one included" in card
    assert "| negative ELBO | 102.00 ± 2.00 |" in card


def test_a_folder_with_files_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert published(run, tmp_path / "mine", "onnx=false").is_dir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"^to=.*mine: must be a new or empty folder$"):
        published(run, tmp_path / "mine", "onnx=false")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_network_that_onnx_cannot_express_leaves_no_half_of_a_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise InputError("decoder: cannot be exported")

    monkeypatch.setattr("vae_lightning.reports.publishing.export_onnx", refuse)
    with pytest.raises(InputError, match="decoder: cannot be exported"):
        published(run, tmp_path / "new/digits")
    assert [*(tmp_path / "new").iterdir()] == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["license=mit"], "license=mit: needs to=FOLDER"),
        (["onnx=false"], "onnx=False: needs to=FOLDER"),
        (["to=x", "license='my own'"], "license=my own: must be the name of a licence"),
    ],
)
def test_options_without_effect_are_refused(given: list[str], said: str, run: Path) -> None:
    with pytest.raises(InputError, match=f"^{said}"):
        exported(run, *given)


@pytest.mark.parametrize("package", ["safetensors", "huggingface_hub", "onnx"])
def test_each_extra_of_a_folder_is_named(
    package: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    extra = "onnx" if package == "onnx" else "hub"
    with pytest.raises(InputError, match=rf"pip install 'vae-lightning\[{extra}\]'"):
        published(run, tmp_path / "digits")
    assert not (tmp_path / "digits").exists()
    if package == "onnx":
        assert published(run, tmp_path / "digits", "onnx=false").is_dir()
