"""The Kullback-Leibler divergence (KL) of a posterior from a prior."""

import torch
from torch import Tensor

from vae_lightning.config.errors import InputError
from vae_lightning.posteriors.gaussian import Gaussian
from vae_lightning.posteriors.posterior import Posterior
from vae_lightning.priors.prior import Prior
from vae_lightning.priors.standard import StandardNormal

__all__ = ["check_kl", "gaussian_kl", "kl"]


def check_kl(posterior: type[Posterior], prior: type[Prior]) -> None:
    """Refuse a posterior and a prior whose KL is not known in closed form.

    Raises:
        InputError: naming both.
    """
    if not (issubclass(posterior, Gaussian) and issubclass(prior, StandardNormal)):
        raise InputError(
            f"prior={prior.__name__}: must be StandardNormal with posterior=Gaussian, because the KL of "
            f"{posterior.__name__} from {prior.__name__} is not known in closed form"
        )


def kl(posterior: Posterior, prior: Prior) -> Tensor:
    """Return the KL in closed form, in nats by dimension, ``(..., latent_dim)``.

    Raises:
        InputError: if it is not known.
    """
    check_kl(type(posterior), type(prior))
    assert isinstance(posterior, Gaussian)
    return gaussian_kl(posterior.mu, posterior.logvar)


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    r"""Return the KL of N(mu, exp(logvar)) from N(0, I), in nats by latent dimension.

    .. math:: -\tfrac{1}{2} (1 + \log \sigma^2 - \mu^2 - \sigma^2)

    ``expm1`` preserves precision where posterior and prior are nearly the same.

    Arguments:
        mu: posterior means, ``(..., latent_dim)``.
        logvar: logarithms of the posterior variances, of the same shape.

    Returns:
        Nats by latent dimension, of the same shape; an image's KL is their sum.

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2014, appendix B (https://arxiv.org/abs/1312.6114).
    """
    return 0.5 * (mu.square() + torch.expm1(logvar) - logvar)
