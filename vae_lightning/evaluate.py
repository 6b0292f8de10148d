"""vae-eval: evaluate a run's checkpoint again, and more closely."""

import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from vae_lightning.checks import EVALUATION as RULES
from vae_lightning.checks import InputError, check, check_config
from vae_lightning.command import resolved, run_command
from vae_lightning.processes import local_devices
from vae_lightning.run_directory import (
    CURVES,
    EVALUATION,
    find_checkpoint,
    read_config,
    stored_metrics,
    write_figure,
    write_json,
)

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from torch import Tensor

    from vae_lightning.probe import LinearProbe
    from vae_lightning.vae import VAE

__all__ = ["evaluate", "main"]

log = logging.getLogger(__name__)


def main() -> None:
    """The console script."""
    run_command(evaluate, "evaluate")


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Evaluate a run's checkpoint as ``conf/evaluate.yaml`` says; write ``evaluation.json`` into the run.

    The pictures in its ``figures/`` are made anew, of the split's images. The file holds the protocol and, by their
    names, the results, which are also returned. With ``split=test``:

    - ``test/loss``, ``recon`` and ``kl``, and the run's own probe, ``probe/..._acc``: as in ``metrics.json``;
    - ``test/log_likelihood``, its standard error over images, its bias to first order in 1/K (None for K = 1), the mean
      over images of the effective samples, and ``test/elbo`` by the same samples
      (:mod:`vae_lightning.log_likelihood`);
    - ``test/kl_per_dimension``, ``active_units``, ``mutual_information`` and ``marginal_kl``
      (:mod:`vae_lightning.posterior`);
    - ``chosen_probe/C`` and ``chosen_probe/..._acc``: the probe with the C that validation chooses.

    With ``split=val`` or ``train`` the first group is that split's losses without the run's own probe, the names begin
    with ``val/`` or ``train/``, and the test images are not looked at. All but accuracies and counts is in nats per
    image; accuracies are in [0, 1].

    Raises:
        InputError: if a key is not what :mod:`vae_lightning.checks` allows, there is no such run, checkpoint or split,
            or one of the run's files is not what a run writes.
        FloatingPointError: if the log-likelihood of an image is not finite.
    """
    options = resolved(cfg)
    check(options, RULES)
    run, split = Path(options["run"]), options["split"]
    checkpoint = find_checkpoint(run, options["checkpoint"])
    if local_devices(options["trainer"]) > 1:
        raise InputError(f"trainer.devices={options['trainer']['devices']}: must be 1, for one device evaluates")
    precision = options["trainer"].get("precision")
    if options["samples"] and precision in ("bf16-true", "16-true"):
        raise InputError(
            f"trainer.precision={precision}: must be another for log p(x), which would be wrong by whole nats; "
            "samples=0 leaves it out"
        )
    config = read_config(run)
    config["data"] |= {key: value for key, value in options["data"].items() if value is not None}
    check_config(config | {"trainer": options["trainer"]})
    if split == "val" and config["data"].get("val_size") == 0:
        raise InputError("split=val: must be test or train, for the run has no validation images (data.val_size=0)")

    # Only now, since they take seconds to import.
    import lightning.pytorch as pl

    from vae_lightning.checkpoints import load_vae
    from vae_lightning.data import ImageDataModule
    from vae_lightning.probe import LinearProbe
    from vae_lightning.targets import build
    from vae_lightning.train import quiet

    quiet()
    data = build("data", config["data"], pl.LightningDataModule)
    if split == "train" and not isinstance(data, ImageDataModule):
        raise InputError("split=train: must be test or val, unless the data are an ImageDataModule, which has an order")
    model = load_vae(checkpoint, config["model"].get("_target_"))
    node = config["callbacks"].get("probe")
    probe = build("callbacks.probe", node, LinearProbe) if node else None
    trainer = build(
        "trainer",
        options["trainer"],
        pl.Trainer,
        callbacks=[probe] if probe is not None and split == "test" else [],
        logger=False,
        enable_progress_bar=False,
    )
    batches = _batches(data, split)
    images = _first(batches, options["images"], split)
    again = _losses(trainer, model, data, split, batches)
    model.to(trainer.strategy.root_device)
    closer = _posterior_results(model, images, options["seed"])
    if options["samples"]:
        closer |= _likelihood_results(model, images, options)
    results = again | {f"{split}/{name}": value for name, value in closer.items()}
    results |= _chosen_probe(model, data, probe or LinearProbe(), options["probe_C"], with_test=split == "test")
    weights = next(model.parameters())
    protocol = {
        "checkpoint": options["checkpoint"],
        "split": split,
        "images": len(images),
        "all_images": options["images"] is None,
        "samples": options["samples"] or 0,
        "seed": options["seed"],
        "chunk_size": options["chunk_size"],
        "precision": str(weights.dtype).removeprefix("torch."),
        "device": str(weights.device),
        "units": "nats per image",
        "binarisation": config["data"].get("binarisation", "none"),
        "likelihood": model.likelihood.meaning,
    }
    _make_pictures(run, config, model, batches, f"{'training' if split == 'train' else split} images")
    write_json(run / EVALUATION, {"protocol": protocol, **results})
    # The run's own train/loss is a mean over an epoch in which the weights changed.
    _print_beside_stored(again, stored_metrics(run) or {} if split != "train" else {}, options["checkpoint"])
    _print_closer(results, protocol)
    print(f"\nwritten to {run / EVALUATION}; pictures in {run / 'figures'}")
    return results


def _batches(data: Any, split: str) -> Iterable[tuple["Tensor", "Tensor"]]:
    """The split's batches in their own order."""
    data.prepare_data()
    data.setup({"test": "test", "val": "validate", "train": "fit"}[split])
    batches: Iterable[tuple[Tensor, Tensor]]
    if split == "train":
        batches = data.ordered_dataloader(data.train)
    else:
        batches = data.test_dataloader() if split == "test" else data.val_dataloader()
    return batches


def _losses(
    trainer: "Trainer", model: "VAE", data: Any, split: str, batches: Iterable[tuple["Tensor", "Tensor"]]
) -> dict[str, float]:
    """What the Trainer finds, by the split's names."""
    if split == "test":
        trainer.test(model, datamodule=data, verbose=False)
    elif split == "val":
        trainer.validate(model, datamodule=data, verbose=False)
    else:
        trainer.validate(model, dataloaders=batches, verbose=False)
    found = {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
    return {name.replace("val/", "train/") if split == "train" else name: value for name, value in found.items()}


def _first(batches: Iterable[tuple["Tensor", "Tensor"]], count: int | None, split: str) -> "Tensor":
    """The first images, ``(count, C, H, W)``, or all of them."""
    import torch

    found, seen = [], 0
    for images, _ in batches:
        found.append(images)
        seen += len(images)
        if count is not None and seen >= count:
            break
    if count is not None and seen < count:
        raise InputError(f"images={count}: must be at most {seen}, for split={split} has no more")
    return torch.cat(found)[:count]


def _posterior_results(model: "VAE", images: "Tensor", seed: int) -> dict[str, Any]:
    import torch

    from vae_lightning.posterior import active_units, kl_parts, kl_per_dimension
    from vae_lightning.streams import NormalStream, generator
    from vae_lightning.vae import evaluating

    weights = next(model.parameters())
    with evaluating(model):
        encoded = [model.encode(part.to(weights)) for part in images.split(1000)]
    mu, logvar = (torch.cat(terms).cpu() for terms in zip(*encoded, strict=True))
    noise = NormalStream(generator(seed, "posterior"), mu.shape[1], dtype=torch.float64).draw(len(mu))
    return {
        "active_units": int(active_units(mu).sum()),
        **kl_parts(mu, logvar, noise, progress=True)._asdict(),
        "kl_per_dimension": kl_per_dimension(mu, logvar).tolist(),
    }


def _likelihood_results(model: "VAE", images: "Tensor", options: Mapping[str, Any]) -> dict[str, Any]:
    from vae_lightning.log_likelihood import log_likelihood

    found = log_likelihood(
        model, images, options["samples"], options["seed"], chunk_size=options["chunk_size"], progress=True
    )
    mean, standard_error = found.mean()
    bias = found.bias()
    return {
        "log_likelihood": mean,
        "log_likelihood_standard_error": standard_error,
        "log_likelihood_bias": None if math.isnan(bias) else bias,
        "effective_samples": float(found.effective_samples.mean()),
        "elbo": float(found.elbo.mean()),
    }


def _chosen_probe(model: "VAE", data: Any, own: "LinearProbe", C: Any, with_test: bool) -> dict[str, Any]:
    """The run's own probe but for C, which validation chooses."""
    from vae_lightning.probe import encode_images, linear_probe

    if C is None:
        return {}
    validation = data.val_dataloader()
    if not len(validation):
        log.info(
            "probe_C=%s: not used, for the run has no validation images to choose by (data.val_size=0); the run's own "
            "probe, with C=%s, is the only one",
            C,
            own.fit_options["C"],
        )
        return {}
    train = encode_images(model, data.train_dataloader(), own.max_train_images)
    val = encode_images(model, validation)
    test = encode_images(model, data.test_dataloader()) if with_test else None
    result = linear_probe(train, val, test, **(own.fit_options | {"C": C}), progress=True)
    accuracies = {"train_acc": result.train_acc, "val_acc": result.val_acc, "test_acc": result.test_acc}
    return {
        "chosen_probe/C": result.C,
        **{f"chosen_probe/{name}": accuracy for name, accuracy in accuracies.items() if accuracy is not None},
    }


def _make_pictures(
    run: Path, config: Mapping[str, Any], model: "VAE", batches: Iterable[tuple["Tensor", "Tensor"]], what: str
) -> None:
    """Those of ``figures/``, also of a run that has none."""
    import pandas as pd

    from vae_lightning.figures import Figures, draw_curves
    from vae_lightning.targets import build

    node, folder = config["callbacks"].get("figures"), run / "figures"
    figures = build("callbacks.figures", {**node, "directory": str(folder)}, Figures) if node else Figures(str(folder))
    figures.write(model, batches, what)
    if (run / CURVES).exists():
        rows = [row.dropna().to_dict() for _, row in pd.read_csv(run / CURVES).iterrows()]
        write_figure(folder / "curves.png", draw_curves(rows))


def _print_beside_stored(metrics: Mapping[str, float], stored: Mapping[str, float], checkpoint: str) -> None:
    print(f"\n{checkpoint + '.ckpt':18}{'now':>22}{'at the end of the run':>26}")
    for name, value in metrics.items():
        print(f"{name:18}{value:>22}{stored.get(name, '-'):>26}")


def _print_closer(results: Mapping[str, Any], protocol: Mapping[str, Any]) -> None:
    split, samples = protocol["split"], protocol["samples"]
    found = {name.removeprefix(f"{split}/"): value for name, value in results.items()}
    part = "all" if protocol["all_images"] else "the first"
    lines = ["", f"{split}, {part} {protocol['images']} images, nats per image"]

    def line(title: str, value: object, remark: str = "") -> None:
        lines.append(f"{title:22}{value:>12}   {remark}".rstrip())

    if samples:
        bias = found["log_likelihood_bias"]
        line(
            "log p(x)",
            f"{found['log_likelihood']:.3f}",
            f"± {found['log_likelihood_standard_error']:.3f} over images; K={samples}, "
            f"binarisation: {protocol['binarisation']}",
        )
        line("  ELBO, same samples", f"{found['elbo']:.3f}")
        line("  effective samples", f"{found['effective_samples']:.1f}", "mean over images")
        if bias is not None:
            line("  bias", f"{bias:.3f}", "to first order in 1/K")
    dimensions = found["kl_per_dimension"]
    line("KL", f"{sum(dimensions):.3f}", "= mutual information + marginal KL")
    line("  mutual information", f"{found['mutual_information']:.3f}", f"at most {math.log(protocol['images']):.3f}")
    line("  marginal KL", f"{found['marginal_kl']:.3f}")
    line("active units", f"{found['active_units']} of {len(dimensions)}")
    for start in range(0, len(dimensions), 10):
        shown = " ".join(f"{value:6.3f}" for value in dimensions[start : start + 10])
        lines.append(f"{'' if start else 'KL by dimension':22} {shown}")
    if "chosen_probe/C" in found:
        names = {part: f"chosen_probe/{part}_acc" for part in ("train", "val", "test")}
        accuracies = [f"{part} {found[name]:.4f}" for part, name in names.items() if name in found]
        line("probe by validation", f"C={found['chosen_probe/C']:g}", ", ".join(accuracies))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
