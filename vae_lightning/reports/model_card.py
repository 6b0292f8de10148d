"""The model card of a published model: a README.md with metadata for Hugging Face."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from lightning.pytorch import LightningDataModule

from vae_lightning.config.extras import check_installed
from vae_lightning.config.targets import find_class
from vae_lightning.models.vae import VAE
from vae_lightning.runs.directory import JOB, job_folders, read_json, stored_metrics

__all__ = ["Numbers", "model_card", "same_but_seed"]

# Names of data sets on Hugging Face.
_DATASETS = {
    "FashionMNISTDataModule": "zalando-datasets/fashion_mnist",
    "MNIST5kDataModule": "ylecun/mnist",
    "MNISTDataModule": "ylecun/mnist",
}

_ROWS = {"negative ELBO": "{}/loss", "reconstruction": "{}/recon", "KL": "{}/kl"} | {
    "active units": "{}/active_units",
    "accuracy of a linear probe": "probe/{}_acc",
}
_SPLITS = {"train": "training", "val": "validation", "test": "test"}


class Numbers(NamedTuple):
    """What is known of the published weights.

    Attributes:
        metrics: the metrics of these weights by name; empty if none were measured.
        evaluation: the content of ``evaluation.json``; empty if it is of other weights.
        seeds: the metrics of the runs that differ from this one in the seed alone, this one included; empty if there
            are no others.
    """

    metrics: Mapping[str, float]
    evaluation: Mapping[str, Any]
    seeds: Sequence[Mapping[str, float]]


def same_but_seed(run: Path) -> list[dict[str, float]]:
    """Return the metrics of a job's sweep mates that differ from it in the seed alone, its own included.

    Only complete jobs count. The list is empty if the run is no job of a sweep, or there are no others.
    """
    if not (run / JOB).is_file():
        return []

    def axes(job: Path) -> dict[str, Any]:
        return {key: value for key, value in read_json(job / JOB)["axes"].items() if key != "seed"}

    mates = [job for job in job_folders(_sweep_of(run)) if axes(job) == axes(run)]
    found = [metrics for job in mates if (metrics := stored_metrics(job)) is not None]
    return found if len(found) > 1 else []


def _sweep_of(run: Path) -> Path:
    """Return the folder of a job's sweep; with ``hydra.sweep.subdir``, the job may lie several folders below it."""
    return next((folder for folder in run.parents if (folder / "results.csv").is_file()), run.parent)


def model_card(
    name: str,
    vae: VAE,
    config: Mapping[str, Any],
    epoch: int,
    numbers: Numbers,
    files: Sequence[str],
    license: str | None,
) -> str:
    """Return the text of the card, in Markdown with YAML metadata in front.

    Arguments:
        name: the model's name.
        vae: the model.
        config: the run's configuration.
        epoch: the epoch of the weights, counted from 1.
        numbers: what is known of the weights.
        files: names of the other published files, for the pictures and ONNX.
        license: a licence in Hugging Face's spelling, e.g. ``mit``; None if the author has stated none.

    Raises:
        InputError: if the extra ``hub`` is not installed.
    """
    shape = ", ".join(map(str, vae.image_shape))
    licence = f"Its licence is `{license}`." if license else "Its author has stated no licence: ask before you use it."
    values = "in [0, 1]" if config["data"].get("binarisation", "none") == "none" else "of 0 and 1"
    labels = "" if vae.classes is None else "; labels go with them: run.vae.examples((images, labels))"
    parts = [
        f"# {name}",
        f"A variational autoencoder with {vae.latent_dim} latent variables for images of shape ({shape}), trained with "
        f"vae-lightning. {licence}",
        *_pictures(files),
        "## Use",
        _USE.format(name=name, images=f"(N, {shape}) {values}{labels}"),
        *_onnx(files),
        "## Numbers",
        *_numbers(numbers, epoch),
        "## Model",
        _table({"": ""} | _architecture(vae)),
        "## Data and training",
        _table({"": ""} | _training(vae, config, epoch)),
        "`config.yaml` holds the whole configuration, without paths.",
    ]
    return f"---\n{_metadata(name, config, numbers, license)}\n---\n\n" + "\n\n".join(parts) + "\n"


_USE = """```
pip install 'vae-lightning[hub]'
```

```python
from vae_lightning import load_run

run = load_run("hf://USER/{name}")  # or the path of this folder
posterior = run.vae.encode(images)  # images {images}
latents, reconstructed = posterior.mean, run.vae.reconstruct(images)
drawn = run.vae.sample(count=16)
```

`run.data` is the data set with its split; `load_run(..., data={{"root": DIR}})` says where its files are."""


def _pictures(files: Sequence[str]) -> list[str]:
    return [f"![{Path(file).stem}]({file})" for file in files if file.endswith(".png")]


def _onnx(files: Sequence[str]) -> list[str]:
    found = [f"`{file}`" for file in files if file.endswith(".onnx")]
    return [f"{' and '.join(found)} are the two networks for runtimes without PyTorch, for any N."] if found else []


def _numbers(numbers: Numbers, epoch: int) -> list[str]:
    if not numbers.metrics:
        return [f"None were measured of these weights, those of epoch {epoch}."]
    parts = [
        f"Of these weights, those of epoch {epoch}; in nats per image, accuracies in [0, 1].",
        _by_split([numbers.metrics]),
    ]
    split = numbers.evaluation.get("protocol", {}).get("split")
    likelihood = numbers.evaluation.get(f"{split}/log_likelihood")
    if likelihood is not None:
        protocol, error = numbers.evaluation["protocol"], numbers.evaluation[f"{split}/log_likelihood_standard_error"]
        parts.append(
            f"log p(x) of {protocol['images']} {_SPLITS[split]} images is {likelihood:.2f} ± {error:.2f} (standard "
            f"error over images), estimated by importance weighting with {protocol['samples']} samples each."
        )
    if numbers.seeds:
        parts += [
            f"Of {len(numbers.seeds)} models that differ in the seed alone, this one included, mean ± standard "
            "deviation:",
            _by_split(numbers.seeds),
        ]
    return parts


def _by_split(runs: Sequence[Mapping[str, float]]) -> str:
    splits = [split for split in _SPLITS if all(f"{split}/loss" in run for run in runs)]
    rows = {"": [_SPLITS[split] for split in splits]}
    for title, key in _ROWS.items():
        columns = [[run.get(key.format(split), math.nan) for run in runs] for split in splits]
        digits = 4 if "accuracy" in title else 0 if "units" in title and len(runs) == 1 else 2
        if not all(map(math.isnan, (value for column in columns for value in column))):
            rows[title] = [_with_deviation(column, digits) for column in columns]
    return _table(rows)


def _with_deviation(values: Sequence[float], digits: int) -> str:
    if any(map(math.isnan, values)):
        return ""
    mean = f"{fmean(values):.{digits}f}"
    return f"{mean} ± {stdev(values):.{digits}f}" if len(values) > 1 else mean


def _architecture(vae: VAE) -> dict[str, str]:
    nodes, count = vae.hparams, sum(weight.numel() for weight in vae.parameters())
    widths, back = nodes["widths"], nodes["decoder_widths"]
    back = widths[::-1] if back is None else back
    more = {} if vae.classes is None else {"sees labels": f"{vae.classes} classes"}
    return {
        "latent variables": str(vae.latent_dim),
        "posterior": _described(nodes["posterior"]),
        "prior": _described(nodes["prior"]),
        "likelihood": _described(nodes["likelihood"]),
        "encoder": _layers(nodes, widths) if nodes["encoder"] is None else _described(nodes["encoder"]),
        "decoder": _layers(nodes, back) if nodes["decoder"] is None else _described(nodes["decoder"]),
        **more,
        "parameters": f"{count:,}",
    }


def _layers(nodes: Mapping[str, Any], widths: Sequence[int]) -> str:
    if not widths:
        return "one linear layer"
    activation = nodes["activation"]
    name = activation if isinstance(activation, str) else _described(activation)
    return f"linear layers, {name}, hidden widths {' - '.join(map(str, widths))}"


def _training(vae: VAE, config: Mapping[str, Any], epoch: int) -> dict[str, str]:
    data, nodes, trainer = config["data"], vae.hparams, config.get("trainer", {})
    found = {
        "data": _about(data),
        "binarisation of the pixels": str(data.get("binarisation", "none")),
        "images set apart for validation": str(data.get("val_size", "")),
        "objective": _described(nodes["objective"]),
        "gradient estimator": _described(nodes["estimator"]),
        "optimiser": _described(nodes["optimizer"]),
        "schedule": _described(nodes["schedule"]),
        "batch size": str(data.get("batch_size", "")),
        "epochs": f"{epoch} of {trainer.get('max_epochs', '?')}",
        "precision": str(trainer.get("precision", "")),
        "seed": str(vae.seed),
    }
    return {name: value for name, value in found.items() if value}


def _about(node: Mapping[str, Any]) -> str:
    """Return the first line of the docstring of the data's class, which says what they are, or the class's name."""
    found = find_class("data._target_", node["_target_"], LightningDataModule)
    return (found.__doc__ or found.__name__).strip().splitlines()[0]


def _described(node: Mapping[str, Any]) -> str:
    """Return a class and its arguments as they are written in Python."""
    arguments = ", ".join(
        f"{key}={_described(value) if isinstance(value, Mapping) and '_target_' in value else repr(value)}"
        for key, value in node.items()
        if key != "_target_" and value is not None
    )
    return f"{str(node['_target_']).rpartition('.')[2]}{f'({arguments})' if arguments else ''}"


def _table(rows: Mapping[str, str | Sequence[str]]) -> str:
    """Return a table in Markdown, whose first row is its head."""
    lines = []
    for title, cells in rows.items():
        each = [title, *([cells] if isinstance(cells, str) else cells)]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|').replace('<', '&lt;') for cell in each)} |")
        if len(lines) == 1:
            lines.append(f"|{' --- |' * len(each)}")
    return "\n".join(lines)


def _metadata(name: str, config: Mapping[str, Any], numbers: Numbers, license: str | None) -> str:
    check_installed("model card", "hub", "huggingface_hub")
    from huggingface_hub import EvalResult, ModelCardData

    of_data = str(config["data"]["_target_"]).rpartition(".")[2]
    dataset, title = _DATASETS.get(of_data), of_data.removesuffix("DataModule")
    measured = {
        "test/loss": ("loss", "negative ELBO, nats per image"),
        "probe/test_acc": ("accuracy", "linear probe on the posterior means"),
    }
    results = [
        EvalResult(
            task_type="unconditional-image-generation",
            dataset_type=dataset or title.lower(),
            dataset_name=title,
            dataset_split="test",
            metric_type=metric,
            metric_name=said,
            metric_value=round(float(numbers.metrics[key]), 4),
        )
        for key, (metric, said) in measured.items()
        if key in numbers.metrics
    ]
    data = ModelCardData(
        license=license,
        library_name="vae-lightning",
        pipeline_tag="unconditional-image-generation",
        tags=["vae", "variational-autoencoder", "representation-learning"],
        datasets=[dataset] if dataset else None,
        model_name=name,
        eval_results=results or None,
    )
    return data.to_yaml()
