"""Names in earlier versions, and the current names of their classes and functions."""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["MOVED", "current_name", "with_current_names"]

# Full names in earlier versions, and the current ones. Users' configurations and stored runs contain the earlier ones.
MOVED: Mapping[str, str] = {
    "vae_lightning.EMNISTDataModule": "vae_lightning.data.EMNISTDataModule",
    "vae_lightning.FashionMNISTDataModule": "vae_lightning.data.FashionMNISTDataModule",
    "vae_lightning.FilesDataModule": "vae_lightning.data.FilesDataModule",
    "vae_lightning.ImageDataModule": "vae_lightning.data.ImageDataModule",
    "vae_lightning.KMNISTDataModule": "vae_lightning.data.KMNISTDataModule",
    "vae_lightning.LinearProbe": "vae_lightning.callbacks.LinearProbe",
    "vae_lightning.MNIST5kDataModule": "vae_lightning.data.MNIST5kDataModule",
    "vae_lightning.MNISTDataModule": "vae_lightning.data.MNISTDataModule",
    "vae_lightning.Stack": "vae_lightning.models.Stack",
    "vae_lightning.VAE": "vae_lightning.models.VAE",
    "vae_lightning.callbacks.interruption.Interrupted": "vae_lightning.signals.Interrupted",
    "vae_lightning.checkpoints.SafeCheckpointIO": "vae_lightning.runs.checkpoints.SafeCheckpointIO",
    "vae_lightning.checkpoints.load_vae": "vae_lightning.runs.checkpoints.load_vae",
    "vae_lightning.checks.InputError": "vae_lightning.config.errors.InputError",
    "vae_lightning.checks.Rule": "vae_lightning.config.rules.Rule",
    "vae_lightning.checks.anything": "vae_lightning.config.rules.anything",
    "vae_lightning.checks.check": "vae_lightning.config.rules.check",
    "vae_lightning.checks.check_choice": "vae_lightning.config.rules.check_choice",
    "vae_lightning.checks.integer": "vae_lightning.config.rules.integer",
    "vae_lightning.checks.number": "vae_lightning.config.rules.number",
    "vae_lightning.checks.one_of": "vae_lightning.config.rules.one_of",
    "vae_lightning.checks.optional": "vae_lightning.config.rules.optional",
    "vae_lightning.checks.several": "vae_lightning.config.rules.several",
    "vae_lightning.checks.text": "vae_lightning.config.rules.text",
    "vae_lightning.curves.Curves": "vae_lightning.callbacks.Curves",
    "vae_lightning.export.export_onnx": "vae_lightning.models.onnx.export_onnx",
    "vae_lightning.figures.Figures": "vae_lightning.callbacks.Figures",
    "vae_lightning.files.FilesDataModule": "vae_lightning.data.FilesDataModule",
    "vae_lightning.gradients.GradientError": "vae_lightning.evaluation.gradient_error.GradientError",
    "vae_lightning.gradients.GradientStatistics": "vae_lightning.callbacks.GradientStatistics",
    "vae_lightning.gradients.gradient_error": "vae_lightning.evaluation.gradient_error.gradient_error",
    "vae_lightning.interruption.Interrupted": "vae_lightning.signals.Interrupted",
    "vae_lightning.interruption.Interruption": "vae_lightning.callbacks.interruption.Interruption",
    "vae_lightning.log_likelihood.LogLikelihood": "vae_lightning.evaluation.log_likelihood.LogLikelihood",
    "vae_lightning.log_likelihood.log_likelihood": "vae_lightning.evaluation.log_likelihood.log_likelihood",
    "vae_lightning.logistic_regression.Fit": "vae_lightning.evaluation.logistic_regression.Fit",
    "vae_lightning.mnist.EMNISTDataModule": "vae_lightning.data.EMNISTDataModule",
    "vae_lightning.mnist.FashionMNISTDataModule": "vae_lightning.data.FashionMNISTDataModule",
    "vae_lightning.mnist.KMNISTDataModule": "vae_lightning.data.KMNISTDataModule",
    "vae_lightning.mnist.MNIST5kDataModule": "vae_lightning.data.MNIST5kDataModule",
    "vae_lightning.mnist.MNISTDataModule": "vae_lightning.data.MNISTDataModule",
    "vae_lightning.mnist.PublishedDataModule": "vae_lightning.data.PublishedDataModule",
    "vae_lightning.objectives.beta_elbo.BetaELBO": "vae_lightning.objectives.BetaELBO",
    "vae_lightning.objectives.negative_elbo.NegativeELBO": "vae_lightning.objectives.NegativeELBO",
    "vae_lightning.posterior.KLParts": "vae_lightning.evaluation.kl_parts.KLParts",
    "vae_lightning.posterior.PosteriorMoments": "vae_lightning.posteriors.statistics.PosteriorMoments",
    "vae_lightning.posterior.active_units": "vae_lightning.posteriors.statistics.active_units",
    "vae_lightning.posterior.kl_parts": "vae_lightning.evaluation.kl_parts.kl_parts",
    "vae_lightning.posteriors.kl.gaussian_kl": "vae_lightning.posteriors.gaussian_kl",
    "vae_lightning.priors.StandardNormal": "vae_lightning.priors.Standard",
    "vae_lightning.probe.Features": "vae_lightning.evaluation.features.Features",
    "vae_lightning.probe.LinearProbe": "vae_lightning.callbacks.LinearProbe",
    "vae_lightning.probe.ProbeResult": "vae_lightning.evaluation.probe.ProbeResult",
    "vae_lightning.probe.encode_images": "vae_lightning.evaluation.features.encode_images",
    "vae_lightning.probe.linear_probe": "vae_lightning.evaluation.probe.linear_probe",
    "vae_lightning.processes.batch_total": "vae_lightning.distributed.batch_total",
    "vae_lightning.processes.over_processes": "vae_lightning.distributed.over_processes",
    "vae_lightning.processes.rank": "vae_lightning.distributed.rank",
    "vae_lightning.processes.world_size": "vae_lightning.distributed.world_size",
    "vae_lightning.progress.Progress": "vae_lightning.callbacks.Progress",
    "vae_lightning.progress.progress_bar": "vae_lightning.progress_bar.progress_bar",
    "vae_lightning.stack.Stack": "vae_lightning.models.Stack",
    "vae_lightning.stack.StackData": "vae_lightning.data.StackData",
    "vae_lightning.sweep.SweepCallback": "vae_lightning.sweeps.callback.SweepCallback",
    "vae_lightning.targets.build": "vae_lightning.config.targets.build",
    "vae_lightning.targets.find_class": "vae_lightning.config.targets.find_class",
    "vae_lightning.throughput.Throughput": "vae_lightning.callbacks.Throughput",
    "vae_lightning.vae.Posterior": "vae_lightning.posteriors.GaussianDistribution",
    "vae_lightning.vae.VAE": "vae_lightning.models.VAE",
}

_EARLIER_MODULES = {name.rpartition(".")[0] for name in MOVED}


def current_name(name: str) -> str:
    """Return the current full name of a class or function; a name that has not moved is returned unchanged."""
    return MOVED.get(name, name)


def with_current_names(node: Any) -> Any:
    """Return a configuration with the current name in every ``_target_``."""
    if isinstance(node, Mapping):
        return {
            key: current_name(child) if key == "_target_" and isinstance(child, str) else with_current_names(child)
            for key, child in node.items()
        }
    return [*map(with_current_names, node)] if isinstance(node, list | tuple) else node


class _EarlierModules(MetaPathFinder, Loader):
    """Imports a module of an earlier version as a view of the current one: custom classes may import from it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name in _EARLIER_MODULES else None

    def exec_module(self, module: ModuleType) -> None:
        def moved(attribute: str) -> object:
            earlier = f"{module.__name__}.{attribute}"
            if earlier not in MOVED:
                raise AttributeError(f"module {module.__name__!r} has no attribute {attribute!r}")
            home, _, name = MOVED[earlier].rpartition(".")
            return getattr(import_module(home), name)

        module.__getattr__ = moved  # type: ignore[method-assign]


# Last on the path, so that a current module is always found first.
sys.meta_path.append(_EarlierModules())
