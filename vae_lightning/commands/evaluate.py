"""vae-eval: evaluate a run's checkpoint again, in more detail."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from vae_lightning.commands.command import run_command
from vae_lightning.commands.evaluation_tables import print_beside_stored, print_closer
from vae_lightning.commands.rules import EVALUATE as RULES
from vae_lightning.commands.scripts import started
from vae_lightning.config.errors import InputError
from vae_lightning.config.resolving import resolved
from vae_lightning.config.rules import check, check_digits
from vae_lightning.memory import check_memory
from vae_lightning.runs.checking import check_config
from vae_lightning.runs.directory import EVALUATION, find_checkpoint, stored_metrics
from vae_lightning.runs.processes import local_devices
from vae_lightning.runs.sizes import FLOAT
from vae_lightning.runs.stored_config import read_config, with_data
from vae_lightning.signals import resumes_by
from vae_lightning.whole_files import write_json
from vae_lightning.wrapping import fitted

__all__ = ["evaluate", "main"]


def main() -> None:
    """Run the console script."""
    with started("vae-eval"):
        run_command(evaluate, "evaluate", bare="run")


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Evaluate a run's checkpoint as ``conf/evaluate.yaml`` describes; write ``evaluation.json`` to the run directory.

    The pictures in the run's ``figures/`` are redrawn from the split's images. The file holds the protocol and the
    results by name; the results are also returned. With ``split=test``:

    - ``test/loss``, ``recon`` and ``kl``, and the run's own probe, ``probe/..._acc``: as in ``metrics.json``;
    - ``test/log_likelihood`` of ``images`` images, evenly spaced over the split, its standard error over them, its bias
      to first order in 1/K (None for K = 1), the effective number of samples (mean over images), and ``test/elbo`` from
      the same samples (:mod:`vae_lightning.evaluation.log_likelihood`);
    - ``test/kl_per_dimension``, ``active_units``, ``mutual_information`` and ``marginal_kl``
      (:mod:`vae_lightning.posteriors.statistics`, :mod:`vae_lightning.evaluation.kl_parts`);
    - ``chosen_probe/C`` and ``chosen_probe/..._acc``: the probe with the C that validation chooses.

    With ``split=val`` or ``train``, the first group holds that split's losses without the run's own probe, the names
    begin with ``val/`` or ``train/``, and the test images are not used. Accuracies are in [0, 1]; everything else but
    counts is in nats per image.

    Raises:
        InputError: if a key breaks its rule (:mod:`vae_lightning.commands.rules`), there is no such run, checkpoint or
            split, or one of the run's files is damaged or was not written by a run.
        FloatingPointError: if the log-likelihood of an image is not finite.
    """
    options = resolved(cfg)
    check_digits(options)
    check(options, RULES)
    run, split = Path(options["run"]), options["split"]
    checkpoint = find_checkpoint(run, options["checkpoint"])
    config = with_data(read_config(run), options["data"])
    _check_together(options, config)
    stored = stored_metrics(run) or {}

    resumes_by(lambda: f"{run / EVALUATION} was not written; the same command starts again")
    # Imported here because they take seconds.
    from vae_lightning.matmul_precision import matmul_precision
    from vae_lightning.runs.evaluation import Evaluation

    evaluation = Evaluation(config, checkpoint, options)
    with matmul_precision(evaluation.matmul_precision):
        again = evaluation.losses()
        with matmul_precision(evaluation.sampling_precision):
            closer = evaluation.closer()
        results = again | closer | evaluation.chosen_probe()
    evaluation.draw(run)
    write_json(run / EVALUATION, {"protocol": evaluation.protocol, **results})
    # The run's own train/loss is a mean over an epoch in which the weights changed.
    print_beside_stored(again, stored if split != "train" else {}, options["checkpoint"], evaluation.epoch)
    print_closer(results, evaluation.protocol)
    print()
    print(fitted(f"written to {run / EVALUATION}; pictures in {run / 'figures'}", sys.stdout))
    return results


def _check_together(options: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse options that conflict with each other or with the run's configuration.

    Raises:
        InputError: naming the key.
    """
    trainer = options["trainer"]
    if local_devices(trainer) > 1:
        raise InputError(f"trainer.devices={trainer['devices']}: must be 1, because the evaluation runs on one device")
    precision = trainer.get("precision")
    if options["samples"] and precision in ("bf16-true", "16-true"):
        raise InputError(
            f"trainer.precision={precision}: must be another for log p(x), which would be off by whole nats; "
            "samples=0 leaves it out"
        )
    check_config({**config, "trainer": trainer})
    together = min(options["samples"] or 0, options["chunk_size"])
    check_memory(f"chunk_size={options['chunk_size']}", FLOAT * together * config["model"].get("latent_dim", 1))
    if options["split"] == "val" and config["data"].get("val_size") == 0:
        raise InputError("split=val: must be test or train, because the run has no validation images (data.val_size=0)")


if __name__ == "__main__":
    main()
