"""Lightning's Trainer of a run, and the precision of the matrix products within it."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.profilers import Profiler

from vae_lightning.config.errors import InputError
from vae_lightning.config.targets import build
from vae_lightning.matmul_precision import SINGLE, Product, fastest, relative_error
from vae_lightning.models.compiler import check_compiler
from vae_lightning.models.trainable import Trainable
from vae_lightning.runs.directory import ENVIRONMENT, read_json

__all__ = ["build_trainer", "chosen_matmul_precision", "compile_step", "stored_matmul_precision"]

log = logging.getLogger(__name__)


def build_trainer(node: Mapping[str, Any], **arguments: Any) -> Trainer:
    """Build the Trainer of a configuration, with further arguments.

    Raises:
        InputError: if it cannot be built, or another argument than the profiler is given as ``_target_``.
    """
    own = {name: value for name, value in node.items() if name != "matmul_precision"}
    if own.get("deterministic") is False and not torch.are_deterministic_algorithms_enabled():
        # Given false, Lightning would have torch import its compiler, whose setting it is as well: seconds for nothing.
        own["deterministic"] = None
    for name, value in own.items():
        if isinstance(value, Mapping) and "_target_" in value:
            if name != "profiler":
                raise InputError(f"trainer.{name}._target_={value['_target_']}: must be a plain value")
            own[name] = build(f"trainer.{name}", value, Profiler)  # type: ignore[type-abstract]
    return build("trainer", own, Trainer, **arguments)


def chosen_matmul_precision(
    trainer: Mapping[str, Any],
    module: LightningModule,
    rows: int,
    models: int | None = None,
    resumed: Path | None = None,
) -> str:
    """Return the precision of matrix products, ``trainer.matmul_precision``.

    Arguments:
        trainer: the Trainer's configuration.
        module: the model, or a stack of models.
        rows: number of rows of its products: the images of a batch times the samples of each.
        models: number of models in a stack; None for a single one.
        resumed: the directory of a run that resumes or is evaluated: it keeps its precision, so that its numbers stay
            the same, unless on this machine another precision is as exact.
    """
    wanted: str = trainer.get("matmul_precision", "highest")  # that of all runs before there was a choice
    # On a GPU, others are less exact; in half and in double precision, they have no effect.
    on_cpu = trainer.get("accelerator") == "cpu" or not torch.accelerator.is_available()
    if not on_cpu or str(trainer.get("precision", "32-true")) not in ("32-true", "32"):
        return "highest" if wanted == "auto" else wanted
    shapes = [weight.shape[models is not None :] for weight in module.parameters()]
    products = [Product(models or 1, rows, *reversed(shape)) for shape in shapes if len(shape) == 2]
    if not products:
        return "highest" if wanted == "auto" else wanted
    if wanted == "auto":
        stored = None if resumed is None else stored_matmul_precision(resumed)
        keeps = stored is not None and (stored == "highest" or relative_error(products, stored) < SINGLE)
        return stored if keeps and stored is not None else fastest(products)
    error = relative_error(products, wanted)
    if error > SINGLE:
        log.warning("trainer.matmul_precision=%s: matrix products have a relative error of %.1e here", wanted, error)
    return wanted


def stored_matmul_precision(run: Path) -> str:
    """Return the precision of a run's matrix products; ``highest`` for a run from before there was a choice."""
    with suppress(FileNotFoundError):
        stored: str = read_json(run / ENVIRONMENT).get("matmul_precision", "highest")
        return stored
    return "highest"


def compile_step(how: bool | str, module: LightningModule, trainer: Trainer) -> None:
    """Let a model or a stack compile its training step.

    Arguments:
        how: ``compile`` in the configuration, true or ``"max"``.
        module: the model or stack.
        trainer: its Trainer.

    Raises:
        InputError: if it cannot compile its step, or there is no compiler for the Trainer's device.
    """
    if not isinstance(module, Trainable):
        raise InputError(f"compile={how}: must be false, because a {type(module).__name__} has its own training step")
    check_compiler(trainer.strategy.root_device.type)
    module.compile_step(thorough=how == "max")
