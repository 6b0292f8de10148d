"""Evaluate a run's checkpoint on one split of its data."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import LightningDataModule

from vae_lightning import cpu
from vae_lightning.callbacks.figures import Figures
from vae_lightning.callbacks.linear_probe import LinearProbe
from vae_lightning.config.errors import one_line
from vae_lightning.config.targets import build
from vae_lightning.data.selection import places, split_batches, validation_batches
from vae_lightning.evaluation.curves import draw_curves
from vae_lightning.evaluation.features import encode_images
from vae_lightning.evaluation.kl_parts import kl_parts
from vae_lightning.evaluation.log_likelihood import log_likelihood
from vae_lightning.evaluation.probe import linear_probe
from vae_lightning.models.encode_all import encode_all
from vae_lightning.posteriors.statistics import active_units, mean_kl
from vae_lightning.runs.checkpoints import load_vae, weights_epoch
from vae_lightning.runs.directory import CURVES, stored_metrics
from vae_lightning.runs.trainers import build_trainer, chosen_matmul_precision
from vae_lightning.runs.warnings import filter_warnings
from vae_lightning.streams import NormalStream, generator
from vae_lightning.whole_files import write_figure

__all__ = ["Evaluation"]

log = logging.getLogger(__name__)

# Images for which mutual information is computed, from their posteriors alone, where a density has no formula.
MOST_IMPLICIT = 200


class Evaluation:
    """Evaluates a run's model on one split of the run's data.

    Arguments:
        config: the run's stored configuration.
        checkpoint: the path of the run's checkpoint.
        options: the options of ``conf/evaluate.yaml``.

    Raises:
        InputError: if the data, the model or the probe cannot be built.
    """

    def __init__(self, config: Mapping[str, Any], checkpoint: Path, options: Mapping[str, Any]) -> None:
        filter_warnings()
        cpu.prepare()
        self.config, self.options, self.split = config, options, str(options["split"])
        self.data: Any = build("data", config["data"], LightningDataModule)
        self.vae = load_vae(checkpoint, config["model"].get("_target_"))
        self.epoch = weights_epoch(checkpoint)
        node = config["callbacks"].get("probe")
        self.probe = build("callbacks.probe", node, LinearProbe) if node else None
        self.trainer = build_trainer(
            options["trainer"],
            callbacks=[self.probe] if self.probe is not None and self.split == "test" else [],
            logger=False,
            enable_progress_bar=False,
        )
        # The losses are to match the run's; log p(x) has its own products, and a Monte Carlo error.
        self.matmul_precision = chosen_matmul_precision(
            options["trainer"], self.vae, config["data"].get("batch_size", 1), resumed=Path(options["run"])
        )
        self.sampling_precision = chosen_matmul_precision(options["trainer"], self.vae, options["chunk_size"])
        self.batches: Any = split_batches(self.data, self.split)
        self.images = torch.cat([self.vae.examples(batch) for batch in self.batches])
        # Evenly spaced, because published images are sorted, by label or by origin.
        self.chosen = places(len(self.images), options["images"] or len(self.images))
        # How many images the posterior statistics cover.
        self.posterior_images = len(self.images)

    @property
    def protocol(self) -> dict[str, Any]:
        """The settings with which the metrics are computed."""
        weights = next(self.vae.parameters())
        return {
            "checkpoint": self.options["checkpoint"],
            "epoch": self.epoch,
            "split": self.split,
            "images": len(self.chosen),
            "all_images": len(self.chosen) == len(self.images),
            "choice_of_images": "evenly spaced over the split",
            "posterior_images": self.posterior_images,
            "samples": self.options["samples"] or 0,
            "latent_dim": self.vae.posterior.latent_dim,
            "seed": self.options["seed"],
            "chunk_size": self.options["chunk_size"],
            "precision": str(weights.dtype).removeprefix("torch."),
            "trainer_precision": self.trainer.precision,
            "matmul_precision": self.sampling_precision,
            "device": str(weights.device),
            "units": "nats per image",
            "binarisation": self.config["data"].get("binarisation", "none"),
            "likelihood": self.vae.likelihood.meaning,
        }

    def losses(self) -> dict[str, float]:
        """Return the losses over all images of the split and, for the test, the accuracies of the run's own probe."""
        if self.split == "test":
            self.trainer.test(self.vae, datamodule=self.data, verbose=False)
        elif self.split == "val":
            self.trainer.validate(self.vae, datamodule=self.data, verbose=False)
        else:
            self.trainer.validate(self.vae, dataloaders=self.batches, verbose=False)
        logged = {name: float(value) for name, value in self.trainer.callback_metrics.items() if "/" in name}
        if self.split == "train":
            return {name.replace("val/", "train/"): value for name, value in logged.items()}
        return logged

    def closer(self) -> dict[str, Any]:
        """Return the parts of the KL, the active units and, with samples, log p(x); call :meth:`losses` first.

        Raises:
            FloatingPointError: if the log-likelihood of an image is not finite.
        """
        self.vae.to(self.trainer.strategy.root_device)
        found = self._posterior_results() | (self._likelihood_results() if self.options["samples"] else {})
        return {f"{self.split}/{name}": value for name, value in found.items()}

    def chosen_probe(self) -> dict[str, Any]:
        """Return the accuracies of the run's own probe with the C that validation chooses."""
        C, own = self.options["probe_C"], self.probe or LinearProbe()
        if C is None:
            return {}
        validation = validation_batches(self.data)
        if not len(validation):
            log.info(
                "probe_C=%s: not used, because the run has no validation images to choose by; the "
                "run's own probe, with C=%s, is the only one",
                C,
                own.fit_options["C"],
            )
            return {}
        try:
            train = encode_images(self.vae, self.data.train_dataloader(), own.max_train_images)
            val = encode_images(self.vae, validation)
            test = encode_images(self.vae, self.data.test_dataloader()) if self.split == "test" else None
            result = linear_probe(train, val, test, **(own.fit_options | {"C": C}), progress=True)
        except Exception as error:  # the other results are right without it
            log.warning("the probe is left out: %s", one_line(error))
            return {}
        accuracies = {"train_acc": result.train_acc, "val_acc": result.val_acc, "test_acc": result.test_acc}
        return {
            "chosen_probe/C": result.C,
            **{f"chosen_probe/{name}": accuracy for name, accuracy in accuracies.items() if accuracy is not None},
        }

    def draw(self, run: Path) -> None:
        """Write the pictures to the run's ``figures/``, even if the run itself wrote none."""
        node, folder = self.config["callbacks"].get("figures"), run / "figures"
        figures = (
            build("callbacks.figures", {**node, "directory": str(folder)}, Figures) if node else Figures(str(folder))
        )
        figures.write(self.vae, self.batches, f"{'training' if self.split == 'train' else self.split} images")
        if (run / CURVES).exists():
            try:
                rows = [row.dropna().to_dict() for _, row in pd.read_csv(run / CURVES).iterrows()]
                best = (stored_metrics(run) or {}).get("best/epoch")
                drawn = draw_curves(rows, None if best is None else int(best) - 1)
            except Exception as error:  # a damaged table can raise errors of many types
                log.warning("%s: cannot be drawn: %s", run / CURVES, one_line(error))
            else:
                write_figure(folder / "curves.png", drawn)

    def _posterior_results(self) -> dict[str, Any]:
        posterior, prior = encode_all(self.vae, self.images)
        rows, few = self.chosen, len(self.chosen) <= MOST_IMPLICIT
        if few and not posterior.in_closed_form:  # all of these images alone, so that the parts add up to the KL
            posterior, rows = encode_all(self.vae, self.images[rows])[0], torch.arange(len(rows))
        self.posterior_images = len(posterior.mean)
        source = generator(self.options["seed"], "posterior")
        noise = NormalStream(source, posterior.noise_size, dtype=torch.float64).draw(self.posterior_images)
        found = {
            "active_units": int(active_units(posterior.mean, self.vae.posterior.latent_dim).sum()),
            "kl_per_dimension": mean_kl(posterior, prior, noise).tolist(),
        }
        if few or posterior.in_closed_form:
            return found | kl_parts(posterior, prior, noise, rows, progress=True)._asdict()
        log.info(
            "mutual information is left out, because each of the %d x %d densities takes a search; images=%d gives it",
            len(rows),
            len(noise),
            MOST_IMPLICIT,
        )
        return found

    def _likelihood_results(self) -> dict[str, Any]:
        options = self.options
        with self.trainer.precision_plugin.forward_context():
            found = log_likelihood(
                self.vae,
                self.images[self.chosen],
                options["samples"],
                options["seed"],
                options["chunk_size"],
                progress=True,
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
