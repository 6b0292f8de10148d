"""What is measured of many estimators along one trajectory, and how they are named."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from conftest import SMALL, Compose, TinyImages, losses
from lightning.pytorch import Trainer
from warm_process import run_command

from vae_lightning import VAE
from vae_lightning.callbacks.gradient_statistics import GradientStatistics
from vae_lightning.config.errors import InputError
from vae_lightning.config.resolving import resolved
from vae_lightning.evaluation.gradient_curves import as_image, draw_gradient_curves
from vae_lightning.evaluation.gradient_error import encoder_gradients, moments
from vae_lightning.runs.checking import check_config
from vae_lightning.runs.stored_config import differences
from vae_lightning.runs.training import train
from vae_lightning.streams import generator

BERNOULLI = {"_target_": "vae_lightning.posteriors.Bernoulli"}
MEASURE = ["data=mnist_5k", "callbacks=gradients"]


def node(name: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": f"vae_lightning.estimators.{name}", **arguments}


def binary(estimator: Mapping[str, Any], **more: Any) -> VAE:
    return VAE(latent_dim=3, widths=(8,), posterior=BERNOULLI, estimator=estimator, **more)


def fitted(
    vae: VAE, *callbacks: Any, epochs: int = 2, checkpoint: Path | None = None, save: Path | None = None
) -> dict[str, float]:
    """The metrics of the last epoch of a fit to images of noise, without times."""
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*callbacks],
    )
    trainer.fit(vae, datamodule=TinyImages(batch_size=10, val_size=20), ckpt_path=checkpoint, weights_only=True)
    if save is not None:
        trainer.save_checkpoint(save)
    return losses({name: float(value) for name, value in trainer.callback_metrics.items()})


def measuring(**options: Any) -> GradientStatistics:
    return GradientStatistics(**{"images": 10, "estimates": 300, "references": 300, "own_steps": 3, **options})


def test_a_basket_finds_what_each_finds_alone_and_leaves_the_model_as_it_is() -> None:
    names = {"disarm": "DisARM", "straight_through": "StraightThrough", "enumeration": "Enumeration"}
    found = fitted(binary(node("DisARM")), measuring(estimators={name: node(target) for name, target in names.items()}))
    alone = fitted(binary(node("DisARM")), measuring())
    for name in ("bias", "noise", "variance", "norm"):
        assert found[f"gradient/disarm/{name}"] == pytest.approx(alone[f"gradient/{name}"], rel=1e-6)
    assert found["train/loss"] == fitted(binary(node("DisARM")))["train/loss"]
    # The reference is exact, so that a bias is found, and nothing is found where there is none.
    assert found["gradient/straight_through/bias"] > 3 * found["gradient/straight_through/noise"]
    assert found["gradient/disarm/bias"] < 2 * found["gradient/disarm/noise"]
    assert found["gradient/enumeration/variance"] == 0
    assert found["gradient/enumeration/bias"] < 1e-3  # of rounding


@pytest.mark.parametrize(
    ("model", "reference"),
    [
        ({"posterior": BERNOULLI}, "Enumeration"),
        ({"posterior": BERNOULLI, "latent_dim": 13}, "DisARM"),  # 8,192 values
        ({"posterior": {"_target_": "vae_lightning.posteriors.Categorical", "categories": 100}}, "LeaveOneOut"),
        ({}, "Reparameterization"),
    ],
)
def test_the_reference_is_the_best_that_goes_with_the_latents(
    model: dict[str, Any], reference: str, caplog: pytest.LogCaptureFixture
) -> None:
    vae = VAE(**{"latent_dim": 3, "widths": (4,), "estimator": node("ScoreFunction"), **model})
    with caplog.at_level(logging.INFO):
        fitted(vae, measuring(estimates=2, references=2), epochs=1)
    assert f"compared with those of {reference}, in double precision" in caplog.text


@pytest.mark.parametrize("name", ["Reparameterization", "ScoreFunction", "NVIL", "Rebar", "MuProp", "DisARM", "VIMCO"])
def test_estimates_drawn_together_are_those_drawn_one_by_one(name: str, images: torch.Tensor) -> None:
    iwae = {"_target_": "vae_lightning.objectives.IWAE", "samples": 3, "doubly_reparameterized": False}
    options: dict[str, Any] = {"objective": iwae} if name == "VIMCO" else {}
    if name != "Reparameterization":
        options["posterior"] = BERNOULLI
    baseline = {"baseline": "batch_mean"} if name == "ScoreFunction" else {}  # over the images of one estimate alone
    vae = VAE(latent_dim=3, widths=(8,), estimator=node(name, **baseline), **options)
    one, many = (
        torch.stack([*encoder_gradients(vae, images[:10], 5, generator(0, "test"), step=0, at_once=at_once)])
        for at_once in (1, 2)
    )
    assert one.std(0).max() > 0
    torch.testing.assert_close(many, one, rtol=1e-4, atol=1e-4 * float(one.abs().max()))


def test_an_estimators_own_weights_learn_and_resume(tmp_path: Path) -> None:
    basket = {"nvil": node("NVIL", hidden=4), "rebar": node("Rebar", lr=0.1)}
    whole = measuring(estimators=basket)
    expected = fitted(binary(node("DisARM")), whole)
    (state,) = (whole.state_dict()["own"][name] for name in ["rebar"])
    assert float(state["weights"]["eta"]) != 1  # as it began
    fitted(binary(node("DisARM")), measuring(estimators=basket), epochs=1, save=tmp_path / "half.ckpt")
    resumed = measuring(estimators=basket)
    assert fitted(binary(node("DisARM")), resumed, checkpoint=tmp_path / "half.ckpt") == expected
    assert [row["step"] for row in resumed.history] == [row["step"] for row in whole.history] == [4, 8]
    # They go on from where they were: a callback that has forgotten them finds other numbers.
    forgotten = measuring(estimators=basket)
    forgotten.load_state_dict = lambda state: None  # type: ignore[method-assign,assignment]
    assert fitted(binary(node("DisARM")), forgotten, checkpoint=tmp_path / "half.ckpt") != expected


def test_the_models_own_estimator_has_the_models_weights() -> None:
    own = node("Rebar", lr=0.5)
    vae, callback = binary(own), measuring(estimators={"rebar": own})
    alone = fitted(binary(own), measuring())
    assert fitted(vae, callback)["gradient/rebar/variance"] == alone["gradient/variance"]
    assert callback.state_dict()["own"] == {}


def test_measurements_within_an_epoch() -> None:
    callback = measuring(every_n_steps=3, every_n_epochs=2, estimates=2)
    fitted(binary(node("DisARM")), callback)
    assert [row["step"] for row in callback.history] == [3, 6, 8]
    data = FewDigitsBlocks()
    assert data.steps(callback) == 1
    assert data.steps(measuring()) > 1


class FewDigitsBlocks:
    """The number of steps that a block has beside a callback."""

    def steps(self, callback: GradientStatistics) -> int:
        trainer = Trainer(accelerator="cpu", callbacks=[callback], logger=False, enable_checkpointing=False)
        return TinyImages(batch_size=10, val_size=20).steps_per_batch(trainer, binary(node("DisARM")))


def test_estimators_are_named_as_files_of_their_group(composed: Compose) -> None:
    names = "[rebar,score_function_baseline]"
    given = resolved(composed(*MEASURE, f"callbacks.gradients.estimators={names}", "callbacks.gradients.reference=arm"))
    gradients = given["callbacks"]["gradients"]
    rebar = node("Rebar", temperature=0.5, scale=1.0, lr=1e-3)
    assert gradients["estimators"] == {"rebar": rebar, "score_function_baseline": node("ScoreFunction", baseline=True)}
    assert gradients["reference"] == node("ARM")
    python = GradientStatistics(estimators=["rebar", "score_function_baseline"], reference="arm")
    assert (python.estimators, python.reference) == (gradients["estimators"], gradients["reference"])
    # A stored configuration, and YAML with nodes, stay as they are.
    assert resolved(composed(*MEASURE, f"+callbacks.gradients.estimators.cold={{_target_: {rebar['_target_']}}}"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["estimators=[disarm,rebra]"], r"estimators=\[disarm,rebra\]: there is no such name; did you mean rebar\?"),
        (["estimators=[disarm]"], "estimators.disarm: estimator=DisARM: must be another with posterior=Gaussian"),
        (["estimators=[]"], r"estimators=\[\]: must be a list of names of files of conf/estimator"),
        (["estimators={a/b: {_target_: x}}"], "a mapping of names without /"),
        (["reference=3"], "reference=3: must be the name of a file of conf/estimator"),
        (["estimators={one: {_target_: vae_lightning.estimators.Rebar, temperature: 0}}"], "one.temperature=0"),
    ],
)
def test_refused_before_torch_is_imported(options: list[str], message: str, composed: Compose) -> None:
    with pytest.raises(InputError, match=f"callbacks.gradients.*{message}"):
        check_config(resolved(composed(*MEASURE, *(f"callbacks.gradients.{option}" for option in options))))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["estimators=[vimco]"], "estimators.vimco: estimator=VIMCO: must be another with objective=NegativeELBO"),
        (
            ["reference=nvil"],
            "reference=vae_lightning.estimators.NVIL: must be an estimator without weights",
        ),
    ],
)
def test_refused_before_anything_is_written(
    options: list[str], message: str, composed: Compose, tmp_path: Path
) -> None:
    cfg = composed(*MEASURE, "trainer=cpu", *(f"callbacks.gradients.{option}" for option in options))
    with pytest.raises(InputError, match=f"callbacks.gradients.{message}"):
        train(cfg)
    assert not (tmp_path / "run/.hydra").exists()


def test_a_run_of_an_earlier_version_goes_on(composed: Compose) -> None:
    now = resolved(composed(*MEASURE))
    earlier = {**now, "callbacks": {**now["callbacks"]}}
    later = ("estimators", "reference", "own_steps", "every_n_steps", "picture")
    gradients = now["callbacks"]["gradients"]
    earlier["callbacks"]["gradients"] = {key: value for key, value in gradients.items() if key not in later}
    assert differences(earlier, now) == []
    assert differences({**earlier, "callbacks": {"gradients": {**gradients, "images": 3}}}, now) != []


def test_the_picture_shows_what_noise_hides_as_hollow() -> None:
    measured = {"a": (0.5, 0.1), "b": (0.0, 0.2), "exact": (1e-9, 1e-8)}
    history = [
        {"step": step}
        | {
            f"gradient/{name}/{key}": value
            for name, (bias, noise) in measured.items()
            for key, value in (("bias", bias), ("noise", noise), ("variance", 0.0 if name == "exact" else 3.0))
        }
        for step in (10, 20)
    ]
    figure = draw_gradient_curves(history)
    variance, bias = figure.axes
    assert [line.get_label() for line in variance.lines] == ["a", "b", "exact"]
    lines: list[Any] = [*bias.lines]
    filled, hollow = lines[::2], lines[1::2]
    assert [list(line.get_markevery()) for line in filled] == [[True] * 2, [False] * 2, [False] * 2]
    assert [float(line.get_ydata()[0]) for line in hollow] == [0.5, 0.2, 1e-3]  # not rounding's 1e-8
    assert as_image(figure).shape[0] == 3
    assert as_image(figure).max() == 1
    single = draw_gradient_curves([{"step": 1, "gradient/variance": 2.0, "gradient/bias": 0.1, "gradient/noise": 0.2}])
    assert single.legends == []


def test_a_single_vector_is_exact() -> None:
    found = moments([torch.tensor([3.0, 4.0])])
    assert found.mean.tolist() == [3, 4]
    assert float(found.error) == float(found.variance) == 0


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same two jobs in a stack, and each alone."""
    found = {}
    few = ["images=20", "estimates=10", "references=10", "own_steps=3", "estimators=[disarm,nvil]"]
    options = [
        *(*SMALL, "callbacks=gradients", "callbacks.probe=null", "callbacks.figures=null", "trainer.precision=64-true"),
        *("posterior=bernoulli", "model.latent_dim=4", "estimator=disarm", "seed=1,2", "sweep.name=s"),
        *(f"callbacks.gradients.{option}" for option in few),
    ]
    for name, launcher in (("stacked", ["hydra/launcher=stacked"]), ("alone", [])):
        folder = tmp_path_factory.mktemp(name)
        done = run_command("train", "-m", *options, *launcher, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        found[name] = folder / "outputs/sweeps/s"
    return found


def test_models_in_a_stack_are_measured_as_they_are_alone(sweeps: dict[str, Path]) -> None:
    for job in ("seed=1", "seed=2"):
        stacked, alone = (pd.read_csv(sweeps[name] / job / "metrics.csv") for name in ("stacked", "alone"))
        assert "gradient/nvil/variance" in alone
        assert not [name for name in alone if name.endswith("seconds")]  # the same run writes the same table
        pd.testing.assert_frame_equal(stacked, alone, rtol=1e-6, check_exact=False)
        for name in ("stacked", "alone"):
            metrics = json.loads((sweeps[name] / job / "metrics.json").read_text())
            assert metrics["gradient/nvil/seconds"] > 0
            assert metrics["speed/step_seconds"] > 0
            assert (sweeps[name] / job / "figures/gradient_variance.png").is_file()
        contents = [
            torch.load(sweeps[name] / job / "checkpoints/last.ckpt", weights_only=True) for name in ("stacked", "alone")
        ]
        own = [
            next(state for key, state in content["callbacks"].items() if "GradientStatistics" in key)["own"]["nvil"]
            for content in contents
        ]
        for name, weight in own[1]["weights"].items():
            torch.testing.assert_close(own[0]["weights"][name], weight, rtol=1e-6, atol=1e-9)
    assert json.loads((sweeps["stacked"] / "seed=1/environment.json").read_text())["stack"]["models"] == 2
