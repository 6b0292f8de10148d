"""What the posteriors that are normalising flows share."""

from abc import abstractmethod

import torch
from torch import Tensor

from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.gaussian import LOG_2_PI

__all__ = ["FlowDistribution", "log_standard_normal"]


class FlowDistribution(Distribution):
    r"""A distribution of z = mu + exp(logvar / 2) f(noise), where f is an invertible function that an image selects.

    .. math:: \log q(z) = \log N(\epsilon; 0, I) - \log |\det f'(\epsilon)| - \tfrac{1}{2} \sum_i \log \sigma_i^2

    The flow acts before the mean and the scale are applied, so that its input always has a scale of 1. The
    papers apply the flow after them: the same densities then have other parameters, except for a Sylvester flow with
    fewer columns than latent variables, which describes other densities.
    """

    __slots__ = ()
    in_closed_form = False

    @property
    @abstractmethod
    def mu(self) -> Tensor:
        """The translation, ``(..., B, latent_dim)``."""

    @property
    @abstractmethod
    def logvar(self) -> Tensor:
        """Twice the logarithm of the scale, of the same shape."""

    @abstractmethod
    def flow(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return f(x), ``(..., B, latent_dim)``, and log|det f'(x)|, ``(..., B, 1)``."""

    @abstractmethod
    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the x with f(x) = y, and log|det f'(x)|; both are differentiable in y and all parameters."""

    @property
    def noise_size(self) -> int:
        return self.mu.shape[-1]

    @property
    def mean(self) -> Tensor:
        """The image of the noise's mean, 0; in general it is not the mean of the latents."""
        return self.rsample(torch.zeros_like(self.mu))

    def rsample(self, noise: Tensor) -> Tensor:
        return self.mu + torch.exp(0.5 * self.logvar) * self.flow(noise)[0]

    def log_prob(self, z: Tensor) -> Tensor:
        noise, log_det = self.inverse((z - self.mu) * torch.exp(-0.5 * self.logvar))
        return self._log_density(noise, log_det)

    def rsample_and_log_prob(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        y, log_det = self.flow(noise)
        return self.mu + torch.exp(0.5 * self.logvar) * y, self._log_density(noise, log_det)

    def _log_density(self, noise: Tensor, log_det: Tensor) -> Tensor:
        return log_standard_normal(noise) - log_det - 0.5 * self.logvar.sum(-1, keepdim=True)


def log_standard_normal(x: Tensor) -> Tensor:
    """Return the logarithm of N(x; 0, I), ``(..., 1)``."""
    return -0.5 * (x.square().sum(-1, keepdim=True) + x.shape[-1] * LOG_2_PI)
