"""Measure the gradient estimators on a small model, and write docs/estimators: a table, and a page for each.

    python docs/estimators.py

takes a minute on one core. An estimator is a file of conf/estimator with a row in ``WHEN``; nothing else is needed for
its page.
"""

import argparse
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from docstrings import markdown
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from torch import Tensor

from vae_lightning import VAE, MNIST5kDataModule
from vae_lightning.config.targets import find_class
from vae_lightning.data.selection import spread
from vae_lightning.estimators import Estimator
from vae_lightning.evaluation.gradient_error import GradientError, encoder_gradients, gradient_error
from vae_lightning.streams import generator
from vae_lightning.whole_files import write_figure, write_file

CONF, PAGES = Path(__file__).parents[1] / "conf" / "estimator", Path(__file__).parent / "estimators"

# When to use each estimator.
WHEN = {
    "reparameterization": "wherever the latents are differentiable functions of noise: it is the default",
    "score_function": "where a sample has no derivative, and no baseline can be computed: its variance is the highest",
    "score_function_baseline": "where a sample has no derivative: the baseline costs nothing",
    "none": "only to see what a model loses without a gradient through its latents",
}

# The model, its training and the draws of its gradient.
MODEL: dict[str, Any] = {"latent_dim": 10, "widths": [64], "optimizer": {"_target_": "torch.optim.Adam", "lr": 3e-3}}
EPOCHS, IMAGES, ESTIMATES, REFERENCES = 20, 64, 2000, 500

REFERENCE = "reparameterization"
GREY, COLOUR = "0.3", "tab:blue"


class Measured(NamedTuple):
    """What is measured of an estimator.

    Attributes:
        error: bias, noise and variance of its gradient.
        along: draws of its gradient, projected on the true one and relative to its norm, ``(ESTIMATES,)``.
        seconds: time of a draw.
        losses: validation losses of a model that it trains, by epoch, in nats per image.
    """

    error: GradientError
    along: Tensor
    seconds: float
    losses: list[float]


class Losses(Callback):
    """Keeps the validation loss of each epoch."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.values.append(float(trainer.callback_metrics["val/loss"]))


def train(name: str) -> tuple[VAE, list[float]]:
    """Return a model that an estimator has trained, and its validation losses."""
    vae, losses = VAE(estimator=_node(name), **MODEL), Losses()
    trainer = Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        callbacks=[losses],
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(vae, datamodule=MNIST5kDataModule())
    return vae, losses.values


def measure(name: str, model: VAE, images: Tensor, references: list[Tensor], losses: list[float]) -> Measured:
    """Return the error of an estimator's gradient at the weights of a model, and what goes with it."""
    vae = VAE(estimator=_node(name), **MODEL)
    vae.load_state_dict(model.state_dict())
    mean = torch.stack(references).mean(0)
    along: list[Tensor] = []

    def drawn() -> Iterator[Tensor]:
        for gradient in encoder_gradients(vae, images, ESTIMATES, generator(0, "gradient"), step=0):
            along.append(gradient.double() @ mean / mean.square().sum())
            yield gradient

    start = time.perf_counter()
    error = gradient_error(drawn(), references)
    return Measured(error, torch.stack(along), (time.perf_counter() - start) / ESTIMATES, losses)


def _node(name: str) -> dict[str, Any]:
    """Return the arguments of a file of conf/estimator, with those of the file that it is based on."""
    file: Any = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    based = [base for base in file.pop("defaults", []) if base != "_self_"]
    return {**(_node(based[0]) if based else {}), **file}


def table(measured: dict[str, Measured]) -> str:
    """Return a table with a row for each estimator, the lowest validation loss first."""
    reference = measured[REFERENCE].seconds
    lines = [
        f"| estimator | bias | bias that noise hides | variance | time | loss after {EPOCHS} epochs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in sorted(measured.items(), key=lambda item: item[1].losses[-1]):
        lines.append(
            f"| [{name}]({name}.md) | {row.error.bias:.3f} | {row.error.noise:.3f} | {row.error.variance:,.2f} | "
            f"{row.seconds / reference:.1f} | {row.losses[-1]:.1f} |"
        )
    return "\n".join(lines)


def draw(name: str, measured: dict[str, Measured]) -> None:
    """Draw an estimator's gradients and the training with it, beside the reparameterised gradient's in grey."""
    figure = Figure(figsize=(9, 3.2), dpi=90, layout="constrained")
    left, right = figure.subplots(1, 2)
    shown = [(name, COLOUR)] + [(REFERENCE, GREY)] * (name != REFERENCE)
    for other, colour in shown:
        along = measured[other].along
        _histogram(left, along, colour, other)
        right.plot(range(1, EPOCHS + 1), measured[other].losses, color=colour, label=other, marker=".")
    left.axvline(1, color="black", linestyle=":", label="true gradient")
    left.set(xlabel="draws of the gradient, projected on the true one", ylabel="density", yscale="log")
    right.set(xlabel="epoch", ylabel="validation loss, nats per image")
    right.xaxis.get_major_locator().set_params(integer=True)
    for axes in (left, right):
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    write_figure(PAGES / f"{name}.png", figure)


def _histogram(axes: Axes, values: Tensor, colour: str, label: str) -> None:
    if values.std() < 1e-6:
        axes.axvline(float(values.mean()), color=colour, label=label)
    else:
        axes.hist(values.numpy(), bins=60, density=True, histtype="stepfilled", alpha=0.8, color=colour, label=label)


def page(name: str, measured: dict[str, Measured]) -> str:
    """Return the page of an estimator."""
    file = (CONF / f"{name}.yaml").read_text()
    cls = find_class("_target_", _node(name)["_target_"], Estimator)
    parts = [
        f"# estimator={name}",
        f"Use it {WHEN[name]}.",
        markdown(cls),
        "## Measured",
        table({name: measured[name], REFERENCE: measured[REFERENCE]}),
        f"![Draws of the gradient, projected on the true one, and validation loss by epoch]({name}.png)",
        "The columns are explained [beside the other estimators](README.md).",
        "## In a run",
        f"```\nvae-train estimator={name}\n```",
        f"```yaml\n{file.strip()}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Write the pages."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    trained = {name: train(name) for name in WHEN}
    data = MNIST5kDataModule()
    data.setup()
    model = trained[REFERENCE][0]
    assert data.train is not None
    images, _ = spread([data.train[torch.arange(len(data.train))]], IMAGES, model.image_shape)
    exact = VAE(**MODEL).double()
    exact.load_state_dict(model.state_dict())
    references = [*encoder_gradients(exact, images, REFERENCES, generator(1, "gradient"), step=0)]
    measured = {name: measure(name, model, images, references, losses) for name, (_, losses) in trained.items()}
    text = (
        f"A gradient estimator decides how the encoder learns from latents that were drawn at random. Each is measured "
        f"at the same weights: those of a model (784-{MODEL['widths'][0]}-{MODEL['latent_dim']}) that the "
        f"reparameterised gradient has trained for {EPOCHS} epochs on 3,500 MNIST digits. {ESTIMATES:,} draws of the "
        f"encoder's gradient for {IMAGES} images are compared with {REFERENCES} reparameterised ones in double "
        f"precision; bias and variance are [relative to the true gradient's norm](../maths.md"
        f"#bias-and-variance-of-a-gradient) and its square. A bias below the one that noise hides cannot be seen. Time "
        f"is that of a draw, relative to the reparameterised gradient's; it was taken on a shared machine, and tenths "
        f"mean nothing. The loss is the negative ELBO of the validation images after training with the estimator."
    )
    write_file(
        PAGES / "README.md",
        "\n\n".join(
            [
                "# Gradient estimators",
                textwrap.fill(text, 120, break_on_hyphens=False, break_long_words=False),
                "```\npython docs/estimators.py\n```",
                table(measured),
                "[Maths](../maths.md#the-score-function) derives the estimators, and [an experiment](../experiments.md"
                "#why-the-latents-are-reparameterised)\nfollows bias and variance during training on all of MNIST.",
            ]
        )
        + "\n",
    )
    for name in WHEN:
        draw(name, measured)
        write_file(PAGES / f"{name}.md", page(name, measured))


if __name__ == "__main__":
    main()
