"""Measure the gradient estimators on small models, and write docs/estimators: tables, and a page for each estimator.

    python docs/estimators.py

takes five minutes of one core. An estimator is a file of conf/estimator with a row in ``WHEN`` and a place in
``SETTINGS``; nothing else is needed for its page. In README.md, only what stands between the marks is written anew.
"""

import argparse
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from docstrings import markdown
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from vae_lightning import VAE, MNIST5kDataModule
from vae_lightning.config.choices import read_choice
from vae_lightning.config.targets import find_class
from vae_lightning.data.selection import spread
from vae_lightning.estimators import Estimator
from vae_lightning.evaluation.gradient_error import GradientError, encoder_gradients, gradient_error
from vae_lightning.palette import COLOURS
from vae_lightning.streams import generator
from vae_lightning.whole_files import write_figure, write_file

CONF, PAGES = Path(__file__).parents[1] / "conf" / "estimator", Path(__file__).parent / "estimators"

# When to use each estimator.
WHEN = {
    "reparameterization": "wherever the latents are differentiable functions of noise: it is the default",
    "sticking_the_landing": "with latents that have a derivative, above all with flexible posteriors: its variance "
    "vanishes where the posterior is the true one",
    "score_function": "as the plainest unbiased estimator for latents of any kind: its variance is the highest",
    "score_function_baseline": "where a second pass of the decoder is too much: the batch's mean costs nothing",
    "score_function_moving_average": "as score_function_baseline, where a batch has few images, or images of the same "
    "cost",
    "leave_one_out": "first with categorical latents, and with any others whose samples have no derivative: it has no "
    "weights to train, and more samples buy a lower variance",
    "nvil": "where a single pass of the decoder is all that can be paid, and the cost varies from image to image",
    "vimco": "with importance-weighted bounds of latents whose samples have no derivative",
    "muprop": "where the decoder is nearly linear in the latents and can be differentiated",
    "rebar": "for a low variance with a decoder that can be differentiated; it learns its control variate",
    "relax": "as rebar, in long trainings, which leave its network the time to learn",
    "arm": "only to compare with the literature: disarm has the same cost and a variance that is never higher",
    "disarm": "first with Bernoulli latents: it has a low variance, two passes and nothing to tune",
    "straight_through": "where speed counts and a large bias is tolerable: one pass, nothing to tune",
    "gumbel_softmax": "where a bias is tolerable and the temperature can be tuned: one pass, of relaxed latents",
    "enumeration": "where the latents have few values: the gradient is exact, and the reference of all others",
    "measure_valued": "where latents are few and the decoder cannot be differentiated, or as a second opinion: its "
    "variance is low, its passes grow with latent_dim",
    "none": "only to see what a model loses without a gradient through its latents",
}
# All others have the true gradient as their mean.
BIASED = ("gumbel_softmax", "none", "straight_through")


class Setting(NamedTuple):
    """A model with which estimators are compared.

    Attributes:
        title: that of its table.
        arguments: those of the model.
        reference: an unbiased estimator, whose gradients in double precision are the reference.
        estimators: names of those that are compared.
    """

    title: str
    arguments: dict[str, Any]
    reference: str
    estimators: tuple[str, ...]


ANY = ("none", "score_function", "score_function_baseline", "score_function_moving_average", "leave_one_out")
DISCRETE = (*ANY, "nvil", "muprop", "rebar", "relax", "straight_through", "gumbel_softmax", "measure_valued")
BINARY = {"latent_dim": 8, "posterior": {"_target_": "vae_lightning.posteriors.Bernoulli"}}
ONE_HOT = {"latent_dim": 3, "posterior": {"_target_": "vae_lightning.posteriors.Categorical", "categories": 5}}
BOUND = {"_target_": "vae_lightning.objectives.IWAE", "samples": 5, "doubly_reparameterized": False}
SETTINGS = {
    "gaussian": Setting(
        "10 Gaussian latents",
        {"latent_dim": 10},
        "reparameterization",
        ("reparameterization", "sticking_the_landing", "measure_valued", *ANY),
    ),
    "bernoulli": Setting("8 Bernoulli latents", BINARY, "enumeration", (*DISCRETE, "arm", "disarm", "enumeration")),
    "categorical": Setting("3 categorical latents of 5 categories", ONE_HOT, "enumeration", (*DISCRETE, "enumeration")),
    "iwae": Setting(
        "8 Bernoulli latents, IWAE of 5 samples",
        {**BINARY, "objective": BOUND},
        "vimco",
        ("vimco", "nvil", "disarm", "leave_one_out", "score_function_baseline"),
    ),
}

# What the models have in common, their training, and the draws of their gradients.
MODEL: dict[str, Any] = {"widths": [64], "optimizer": {"_target_": "torch.optim.Adam", "lr": 3e-3}}
EPOCHS, OWN_EPOCHS, IMAGES, ESTIMATES, EXACT = 10, 20, 64, 500, 2

GREY, COLOUR = "0.3", COLOURS[0]


class Measured(NamedTuple):
    """What is measured of an estimator.

    Attributes:
        error: bias, noise and variance of its gradient.
        along: draws of its gradient, projected on the true one and relative to its norm, ``(ESTIMATES,)``.
        passes: latents of an image that the decoder sees in a step.
        own: number of the estimator's own weights.
        seconds: processor time of a training step.
        losses: validation losses of a model that it trains, by epoch, in nats per image.
    """

    error: GradientError
    along: Tensor
    passes: int
    own: int
    seconds: float
    losses: list[float]


class Epochs(Callback):
    """Keeps the validation loss of each epoch, and the processor time of its training steps."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.start, self.step = time.process_time(), trainer.global_step

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds.append((time.process_time() - self.start) / (trainer.global_step - self.step))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.losses.append(float(trainer.callback_metrics["val/loss"]))


def model(setting: Setting, name: str, weights: Mapping[str, Tensor] | None = None) -> VAE:
    """Return a model with an estimator, and with the weights of another as far as these are not the estimator's own."""
    vae = VAE(estimator=_node(name), **setting.arguments, **MODEL)
    if weights is not None:
        vae.load_state_dict({**vae.state_dict(), **{key: weights[key] for key in weights if "estimator." not in key}})
    return vae


def fit(vae: VAE, count: int) -> Epochs:
    """Train a model for a number of epochs, and return them."""
    epochs = Epochs()
    trainer = Trainer(
        max_epochs=count,
        accelerator="cpu",
        callbacks=[epochs],
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(vae, datamodule=MNIST5kDataModule())
    return epochs


def measure(setting: Setting, images: Tensor) -> dict[str, Measured]:
    """Return what is measured of each estimator with a model."""
    trained = {name: model(setting, name) for name in setting.estimators}
    epochs = {name: fit(vae, EPOCHS) for name, vae in trained.items()}
    weights = trained[setting.reference].state_dict()
    exact = model(setting, setting.reference, weights).double()
    references = [*encoder_gradients(exact, images, _count(setting.reference), generator(1, "gradient"), step=0)]
    measured = {}
    for name in setting.estimators:
        vae = model(setting, name, weights)
        own = [*vae.estimator.parameters()]
        if own:
            # They learn at these weights before they are measured.
            for weight in {*vae.parameters()} - {*own}:
                weight.requires_grad = False
            fit(vae, OWN_EPOCHS)
            vae.requires_grad_()
        error, along, passes = _error(vae, images, _count(name), references)
        seconds = torch.tensor(epochs[name].seconds).median().item()
        measured[name] = Measured(
            error, along, passes, sum(weight.numel() for weight in own), seconds, epochs[name].losses
        )
        # A thousandth allows for single precision.
        assert (error.bias > max(error.noise, 1e-3)) == (name in BIASED), (name, error)
    return measured


def _error(vae: VAE, images: Tensor, count: int, references: list[Tensor]) -> tuple[GradientError, Tensor, int]:
    """Return the error of a model's gradient, its draws projected on the true one, and the passes of the decoder."""
    mean = torch.stack(references).mean(0)
    along: list[Tensor] = []
    decoded = 0

    def decode(decoder: nn.Module, inputs: tuple[Tensor]) -> None:
        nonlocal decoded
        decoded += inputs[0].shape[:-1].numel()

    def drawn() -> Iterator[Tensor]:
        for gradient in encoder_gradients(vae, images, count, generator(0, "gradient"), step=0):
            along.append(gradient.double() @ mean / mean.square().sum())
            yield gradient

    hook = vae.decoder.register_forward_pre_hook(decode)
    error = gradient_error(drawn(), references)
    hook.remove()
    return error, torch.stack(along), decoded // (len(along) * len(images))


def _count(name: str) -> int:
    return EXACT if name == "enumeration" else ESTIMATES


def _node(name: str) -> dict[str, Any]:
    return read_choice("estimator", name, f"estimator={name}")


def _class(name: str) -> type[Estimator]:
    return find_class("_target_", _node(name)["_target_"], Estimator)


def table(measured: dict[str, Measured], names: Iterable[str]) -> str:
    """Return a table with a row for each name, the lowest variance first."""
    cheapest = min(row.seconds for row in measured.values())
    lines = [
        f"| estimator | bias | bias that noise hides | variance | decoder passes | time | loss after {EPOCHS} epochs |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in sorted(names, key=lambda name: measured[name].error.variance):
        row = measured[name]
        lines.append(
            f"| [{name}]({name}.md) | {row.error.bias:.3f} | {row.error.noise:.3f} | {row.error.variance:,.3g} | "
            f"{row.passes} | {row.seconds / cheapest:.1f} | {row.losses[-1]:.1f} |"
        )
    return "\n".join(lines)


def overview(measured: dict[str, dict[str, Measured]]) -> str:
    """Return a table of what each estimator needs."""
    lines = ["| estimator | posteriors | objectives | gradient | decoder passes | own weights |", "|" + " --- |" * 6]
    for name in WHEN:
        cls, rows = _class(name), {key: found[name] for key, found in measured.items() if name in found}
        families = ", ".join(cls.posteriors or ["those with a derivative" if cls.reparameterized else "all"])
        objectives = "of one latent" if cls.single else "iwae" if name == "vimco" else "all"
        gradient = "biased" if name in BIASED else "exact" if name == "enumeration" else "unbiased"
        passes = ", ".join(
            map(str, sorted({row.passes for key, row in rows.items() if key != "iwae" or len(rows) == 1}))
        )
        own = "yes" if next(iter(rows.values())).own else "no"
        lines.append(f"| [{name}]({name}.md) | {families} | {objectives} | {gradient} | {passes} | {own} |")
    return "\n".join(lines)


def compare(measured: dict[str, Measured]) -> Figure:
    """Draw variance, bias, time and loss of all estimators with a model, a line for each."""
    names = sorted(measured, key=lambda name: -measured[name].error.variance)
    cheapest = min(row.seconds for row in measured.values())
    panels = {
        "variance of the gradient": [measured[name].error.variance for name in names],
        "bias of the gradient": [measured[name].error.bias if name in BIASED else 0 for name in names],
        "time of a training step": [measured[name].seconds / cheapest for name in names],
        f"loss after {EPOCHS} epochs": [measured[name].losses[-1] for name in names],
    }
    figure = Figure(figsize=(11, 4.4), dpi=90, layout="constrained")
    for axes, (title, values) in zip(figure.subplots(1, 4, sharey=True), panels.items(), strict=True):
        if "variance" in title or "time" in title:
            axes.set_xscale("log")
        for place, (name, value) in enumerate(zip(names, values, strict=True)):
            if value > 1e-6 or "bias" in title:
                filled = COLOUR if name not in BIASED else "none"
                axes.plot(value, place, "o", markersize=7, markeredgecolor=COLOUR, markerfacecolor=filled)
            else:  # there is no place for 0 on a logarithmic scale
                axes.text(0.03, place, "0", transform=axes.get_yaxis_transform(), va="center", color=COLOUR)
        axes.set_title(title, fontsize=10)
        axes.set_yticks(range(len(names)), names)
        axes.grid(alpha=0.3)
    return figure


def draw(name: str, measured: dict[str, dict[str, Measured]]) -> Figure:
    """Draw an estimator's gradients and the training with it, in a row for each model, the reference's in grey."""
    settings = [key for key, found in measured.items() if name in found]
    figure = Figure(figsize=(9, 3.2 * len(settings)), dpi=90, layout="constrained")
    for key, (left, right) in zip(settings, figure.subplots(len(settings), 2, squeeze=False), strict=True):
        setting = SETTINGS[key]
        shown = [(name, COLOUR)] + [(setting.reference, GREY)] * (name != setting.reference)
        for other, colour in shown:
            _histogram(left, measured[key][other].along, colour, other)
            right.plot(range(1, EPOCHS + 1), measured[key][other].losses, color=colour, label=other, marker=".")
        left.axvline(1, color="black", linestyle=":", label="true gradient")
        left.set(xlabel="draws of the gradient, projected on the true one", ylabel="density", yscale="log")
        right.set(xlabel="epoch", ylabel="validation loss, nats per image")
        right.xaxis.get_major_locator().set_params(integer=True)
        for axes in (left, right):
            axes.set_title(setting.title, fontsize=9)
            axes.legend(fontsize=8)
            axes.grid(alpha=0.3)
    return figure


def _histogram(axes: Axes, values: Tensor, colour: str, label: str) -> None:
    if values.max() - values.min() < 1e-6:
        axes.axvline(float(values.mean()), color=colour, label=label)
    else:
        axes.hist(values.numpy(), bins=60, density=True, histtype="stepfilled", alpha=0.8, color=colour, label=label)


def page(name: str, measured: dict[str, dict[str, Measured]]) -> str:
    """Return the page of an estimator."""
    settings = [key for key, found in measured.items() if name in found]
    tables = [
        f"### {SETTINGS[key].title}\n\n{table(measured[key], {name, SETTINGS[key].reference})}" for key in settings
    ]
    # What a model needs besides the estimator.
    more = {"gaussian": "", "iwae": "posterior=bernoulli objective=iwae objective.doubly_reparameterized=false "}
    given = more.get(settings[0], f"posterior={settings[0]} ")
    if name == "enumeration":  # the default has too many values
        given += "model.latent_dim=8 "
    parts = [
        f"# estimator={name}",
        f"Use it {WHEN[name]}.",
        markdown(_class(name)),
        "## Measured",
        *tables,
        f"![Draws of the gradient, projected on the true one, and validation loss by epoch]({name}.png)",
        "The columns are explained [beside the other estimators](README.md#measured).",
        "## In a run",
        f"```\nvae-train {given}estimator={name}\n```",
        f"```yaml\n{(CONF / f'{name}.yaml').read_text().strip()}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def filled(text: str, blocks: Mapping[str, str]) -> str:
    """Return a page with each block between its marks, ``<!-- NAME -->`` and ``<!-- end -->``."""
    for name, block in blocks.items():
        before, mark, after = text.partition(f"<!-- {name} -->\n")
        assert mark, name
        text = f"{before}{mark}\n{block}\n\n<!-- end -->{after.partition('<!-- end -->')[2]}"
    return text


def write(measured: dict[str, dict[str, Measured]]) -> None:
    """Write the pages and the pictures."""
    blocks = {"overview": overview(measured)}
    blocks |= {key: f"### {SETTINGS[key].title}\n\n{table(found, found)}" for key, found in measured.items()}
    index = PAGES / "README.md"
    write_file(index, filled(index.read_text(), blocks))
    write_figure(PAGES.parent / "images" / "discrete_estimators.png", compare(measured["bernoulli"]))
    for name in WHEN:
        write_figure(PAGES / f"{name}.png", draw(name, measured))
        write_file(PAGES / f"{name}.md", page(name, measured))


def main() -> None:
    """Measure, and write the pages."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)  # so that the time of others on the machine does not count
    data = MNIST5kDataModule()
    data.setup()
    assert data.train is not None
    images, _ = spread([data.train[torch.arange(len(data.train))]], IMAGES, (1, 28, 28))
    write({key: measure(setting, images) for key, setting in SETTINGS.items()})


if __name__ == "__main__":
    main()
