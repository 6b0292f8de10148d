"""Measure the runs of experiment=families and priors, and write docs/families: tables, and a page for each family.

    vae-train -m experiment=families sweep.name=families
    vae-train -m experiment=families posterior=bernoulli estimator=disarm sweep.name=bernoulli
    vae-train -m experiment=families posterior=categorical estimator=leave_one_out sweep.name=categorical
    vae-train -m experiment=priors sweep.name=priors
    python docs/families.py outputs/sweeps/{families,bernoulli,categorical,priors}

Besides what a run logs itself, log p(x) of test images is estimated with samples from the posterior, and so is the
variance of the encoder's gradient. Each measurement is kept in its run's folder, ``family.json``, and not repeated.
Jobs that are not complete are left out.
"""

import argparse
import inspect
import json
import re
import textwrap
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from docstrings import markdown
from matplotlib import image
from matplotlib.figure import Figure

from vae_lightning.config.targets import build, find_class
from vae_lightning.data.image_data_module import ImageDataModule
from vae_lightning.data.selection import spread
from vae_lightning.evaluation.gradient_error import encoder_gradients, gradient_error
from vae_lightning.evaluation.log_likelihood import log_likelihood
from vae_lightning.models.vae import VAE
from vae_lightning.posteriors.posterior import Posterior
from vae_lightning.runs.checkpoints import load_vae
from vae_lightning.runs.directory import CONFIG, checkpoint_path, job_folders, stored_metrics
from vae_lightning.streams import generator
from vae_lightning.whole_files import write_figure, write_file, write_json

CONF, PAGES = Path(__file__).parents[1] / "conf", Path(__file__).parent / "families"
COMMANDS = """vae-train -m experiment=families sweep.name=families
vae-train -m experiment=families posterior=bernoulli estimator=disarm sweep.name=bernoulli
vae-train -m experiment=families posterior=categorical estimator=leave_one_out sweep.name=categorical
vae-train -m experiment=priors sweep.name=priors
python docs/families.py outputs/sweeps/{families,bernoulli,categorical,priors}"""
MEASURED = "family.json"

# What is measured: test images and samples for log p(x); training images and estimates for the gradient.
IMAGES, SAMPLES, GRADIENT_IMAGES, ESTIMATES = 1000, 200, 64, 200

# When to use each family.
WHEN = {
    "bernoulli": "for binary codes with a true bound in training: nothing is relaxed, and an estimator gives the "
    "encoder its gradient",
    "beta": "for bounded latents, such as proportions that do not have to add up to 1",
    "categorical": "for discrete factors with a true bound in training, at the price of a noisier gradient",
    "concrete_bernoulli": "for binary codes: attributes that are on or off, hashing",
    "concrete_categorical": "for discrete factors with a few values each, such as clusters",
    "dirichlet": "for mixtures: proportions of topics or parts, which add up to 1",
    "gamma": "for positive and sparse latents: intensities, rates, parts that are mostly absent",
    "gaussian": "first: it has no equal in speed, and its KL by dimension shows which dimensions are used",
    "gaussian_full": "where latent variables are few and explain each other away, so that a diagonal fits badly",
    "gaussian_low_rank": "as gaussian_full, with more latent variables: its cost grows linearly with latent_dim",
    "iaf": "for the tightest bound with many latent variables; density of own samples in one pass",
    "laplace": "for robustness against outliers, or a sharper peak at the mean than the Gaussian's",
    "logistic": "as laplace, with a smooth density; its quantile and distribution functions are elementary",
    "mixture": "where an image has several explanations, and a single Gaussian would average them",
    "planar": "as the cheapest flow: a few planes along which the Gaussian is bent",
    "power_spherical": "as von_mises_fisher, with other tails; its normaliser needs no Bessel function",
    "spline": "as the most flexible flow here, and the slowest",
    "straight_through_bernoulli": "to train with the latents that are used later, at the price of a biased gradient",
    "straight_through_categorical": "to train with the latents that are used later, at the price of a biased gradient",
    "student_t": "for heavy tails whose weight is learned for each image",
    "sylvester": "as planar, with more directions in a layer",
    "von_mises_fisher": "for directions: data whose similarity is an angle, and a uniform prior without a centre",
}
# Estimators for families whose samples have no derivative.
ESTIMATORS = {"bernoulli": "disarm", "categorical": "leave_one_out"}
COLUMNS = {
    "test/loss": ("test loss", 2),
    "log_likelihood": ("log p(x)", 2),
    "test/kl": ("KL", 2),
    "active_units": ("active units", 1),
    "probe/test_acc": ("probe", 4),
    "variance": ("gradient variance", 2),
    "seconds": ("seconds", 0),
}


def measure(job: Path) -> dict[str, Any]:
    """Return the row of a complete job."""
    config = yaml.safe_load((job / CONFIG).read_text())
    metrics = stored_metrics(job) or {}
    row = {
        "posterior": _choice("posterior", config["posterior"]),
        "prior": _choice("prior", config["prior"]),
        "binarisation": config["data"]["binarisation"],
        "seed": config["seed"],
        **metrics,
        "active_units": metrics["test/active_units"],
        "seconds": metrics["fit_seconds"],
    }
    if not (job / MEASURED).exists():
        data: Any = build("data", config["data"], ImageDataModule)  # type: ignore[type-abstract]
        data.prepare_data()
        data.setup()
        vae = load_vae(checkpoint_path(job, "last"), config["model"]["_target_"])
        images, _ = spread(data.test_dataloader(), IMAGES, vae.image_shape)
        estimate = log_likelihood(vae, images, SAMPLES, progress=True)
        images, _ = spread([data.train[torch.arange(10_000)]], GRADIENT_IMAGES, vae.image_shape)
        write_json(
            job / MEASURED,
            {"log_likelihood": estimate.mean()[0], "variance": _gradient_variance(vae, images)},
        )
    measured: dict[str, Any] = json.loads((job / MEASURED).read_text())
    return row | measured


def _choice(group: str, node: dict[str, Any]) -> str:
    """Return the name of the file of a group of conf that holds a node."""
    folder = CONF / group
    for path in sorted(folder.glob("*.yaml")):
        file = yaml.safe_load(path.read_text())
        base = [
            yaml.safe_load((folder / f"{name}.yaml").read_text())
            for name in file.pop("defaults", [])
            if name != "_self_"
        ]
        if {**(base[0] if base else {}), **file} == node:
            return path.stem
    raise ValueError(f"{node}: no file of {folder} holds this")


def _gradient_variance(vae: VAE, images: torch.Tensor) -> float:
    """Return the variance of an estimate of the encoder's gradient for a batch, relative to its squared norm."""
    vae.train()
    estimates = encoder_gradients(vae, images, 2 * ESTIMATES, generator(0, "gradient"), step=0)
    return gradient_error(islice(estimates, ESTIMATES), estimates).variance


def table(rows: pd.DataFrame, group: str = "posterior") -> str:
    """Return a table with a row for each choice, the lowest test loss first: means and deviations over seeds."""
    columns = [*COLUMNS]
    groups = rows.groupby(group)[columns]
    mean, deviation, count = groups.mean(), groups.std(), groups.size()
    lines = [
        f"| {group} | " + " | ".join(title for title, _ in COLUMNS.values()) + " | seeds |",
        "| --- |" + " --- |" * (len(COLUMNS) + 1),
    ]
    for name in mean.sort_values("test/loss").index:
        cells = [_cell(mean.loc[name, key], deviation.loc[name, key], digits) for key, (_, digits) in COLUMNS.items()]
        shown = f"[{name}]({name}.md)" if group == "posterior" else name
        lines.append(f"| {shown} | " + " | ".join(cells) + f" | {count[name]} |")
    return "\n".join(lines)


def _cell(mean: float, deviation: float, digits: int) -> str:
    return f"{mean:.{digits}f}" if pd.isna(deviation) else f"{mean:.{digits}f} ± {deviation:.{digits}f}"


def page(name: str, rows: pd.DataFrame, job: Path | None) -> str:
    """Return the page of a family, and draw its picture from a run's."""
    folder = CONF / "posterior"
    node = (folder / f"{name}.yaml").read_text()
    base = re.search(r"^  - (\w+)\n  - _self_", node, re.M)
    target = yaml.safe_load((folder / f"{base[1]}.yaml").read_text() if base else node)["_target_"]
    family = find_class("_target_", target, Posterior)  # type: ignore[type-abstract]
    module = inspect.getmodule(family)
    made = getattr(module, f"{family.__name__}Distribution", getattr(family, "Relaxed", None))
    parts = [f"# posterior={name}", f"Use it {WHEN[name]}.", markdown(family)]
    if made is not None:
        parts += ["## The distribution", markdown(made)]
    if job is not None:
        pictures = [image.imread(job / "figures" / f"{kind}.png") for kind in ("latent_space", "samples")]
        figure = Figure(figsize=(9, 3.4), dpi=90)
        for place, picture in enumerate(pictures, 1):
            axes = figure.add_subplot(1, 2, place)
            axes.imshow(picture, cmap="gray")
            axes.set_axis_off()
        figure.subplots_adjust(0, 0, 1, 1, 0.01)
        write_figure(PAGES / f"{name}.png", figure)
        parts += [
            "## Latents and samples",
            f"![Posterior means of test images, and samples from the prior]({name}.png)",
        ]
        parts += [table(rows[rows["posterior"] == name])]
    estimator = f" estimator={ESTIMATORS[name]}" if name in ESTIMATORS else ""
    parts += ["## In a run", f"```\nvae-train posterior={name}{estimator}\n```", f"```yaml\n{node.strip()}\n```"]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="+", type=Path, help="folders of sweeps of these experiments")
    sweeps = parser.parse_args().sweeps
    jobs = [path for sweep in sweeps for path in job_folders(sweep) if stored_metrics(path) is not None]
    rows = pd.DataFrame([measure(job) for job in jobs])
    rows["job"] = jobs
    PAGES.mkdir(exist_ok=True)
    text = (
        f"The networks (784-400-20) and the training are the same in all rows: Adam with 1e-3, batches of 128, ten "
        f"epochs of all 60,000 images. `bernoulli` has `estimator=disarm`, `categorical` `estimator=leave_one_out`, "
        f"and all others the reparameterised gradient. Values are means and standard deviations over seeds. The test "
        f"loss is the negative ELBO in nats per image; log p(x) is estimated for {IMAGES} test images with {SAMPLES} "
        f"samples; the gradient's variance is that of an estimate for {GRADIENT_IMAGES} images, relative to its "
        f"squared norm. Seconds are those of a run in a stack of its seeds, and comparable only on a quiet machine. A "
        f"unit counts as active if the variance of its mean is above 0.01, which proportions and coordinates of unit "
        f"vectors seldom reach."
    )
    parts = ["# Families of posteriors", textwrap.fill(text, 120), f"```\n{COMMANDS}\n```"]
    standard = rows[rows["prior"] == "standard"]
    for binarisation, title in (("none", "Grey MNIST"), ("dynamic", "Dynamically binarised MNIST")):
        some = standard[standard["binarisation"] == binarisation]
        if len(some):
            parts += [f"## {title}", table(some)]
    missing = [f"[{name}]({name}.md)" for name in WHEN if name not in set(standard["posterior"])]
    if missing:
        parts += [textwrap.fill(f"Not measured: {', '.join(missing)}.", 120, break_on_hyphens=False)]
    grey = rows[rows["binarisation"] == "none"]
    gaussian = grey[grey["posterior"] == "gaussian"]
    if gaussian["prior"].nunique() > 1:
        parts += ["## Priors, with a Gaussian posterior, grey MNIST", table(gaussian, "prior")]
    write_file(PAGES / "README.md", "\n\n".join(parts) + "\n")
    grey = grey[grey["prior"] == "standard"]
    for name in WHEN:
        own = grey[grey["posterior"] == name]
        write_file(PAGES / f"{name}.md", page(name, grey, own["job"].iloc[0] if len(own) else None))


if __name__ == "__main__":
    main()
