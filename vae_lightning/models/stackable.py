"""Which models can share a stack."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from vae_lightning.config.targets import find_class
from vae_lightning.likelihoods.likelihood import Likelihood
from vae_lightning.models.vae import VAE
from vae_lightning.objectives.objective import Objective
from vae_lightning.posteriors.posterior import Posterior
from vae_lightning.priors.prior import Prior

__all__ = ["ELEMENTWISE", "by_matrix_products", "in_common"]

# Hyperparameters in which the models of a stack may differ, besides those that their objective allows.
_FREE = ("latent_dim", "seed", "optimizer")
# Optimisers that update each number independently, so that a stack's step is that of each model; others take norms of
# whole tensors, or factorise them.
ELEMENTWISE = ("ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD")
# Layers without weights that work the same with one more leading dimension.
_ANY_BATCH = (nn.Sequential, nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Tanh)


def in_common(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters of a model without those in which the models of a stack may differ."""
    common = {name: value for name, value in hyperparameters.items() if name not in _FREE}
    if "objective" in common:
        objective = common["objective"]
        free = find_class("objective._target_", objective["_target_"], Objective).FREE  # type: ignore[type-abstract]
        common["objective"] = {name: value for name, value in objective.items() if name not in free}
    if not _can_pad(hyperparameters):
        common["latent_dim"] = hyperparameters["latent_dim"]
    return common


def _can_pad(hyperparameters: Mapping[str, Any]) -> bool:
    """Return whether models with other latent_dims can be padded, because their latent variables are independent."""
    if not {"latent_dim", "posterior", "prior"} <= set(hyperparameters):  # not those of a model
        return True
    bases: list[tuple[str, Any]] = [("posterior", Posterior), ("prior", Prior)]
    return all(find_class(f"{key}._target_", hyperparameters[key]["_target_"], base).factorised for key, base in bases)


def by_matrix_products(vae: VAE) -> bool:
    """Return whether a model works on ``(K, ...)`` as it does on ``...`` once its linear layers are replaced.

    Subclasses of the model, its layers or sequences of layers do not qualify, because they may compute anything.
    """
    return (
        type(vae) is VAE
        # Not inherited: a subclass may compute otherwise.
        and all(
            vars(type(module)).get("any_batch", False)
            for part in (vae.likelihood, vae.posterior, vae.prior)
            for module in part.modules()
            if isinstance(module, Likelihood | Posterior | Prior)
        )
        and all(
            type(layer) in (nn.Linear, *_ANY_BATCH)
            or (type(layer) is nn.Flatten and layer.start_dim < 0)
            or (type(layer) is nn.Unflatten and isinstance(layer.dim, int) and layer.dim < 0)
            for network in (vae.encoder, vae.decoder)
            for layer in network.modules()
        )
    )
