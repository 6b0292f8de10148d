"""The importance-weighted bound (IWAE)."""

import math

from torch import Tensor

from vae_lightning.config.arguments import checked
from vae_lightning.objectives.draws import Draws
from vae_lightning.objectives.objective import Objective, Terms

__all__ = ["IWAE"]


class IWAE(Objective):
    r"""The negative importance-weighted bound on log p(x), tighter than the ELBO.

    .. math:: -\log \frac{1}{K} \sum_{k=1}^{K} w_k, \qquad w_k = \frac{p(x|z_k) \, p(z_k)}{q(z_k|x)}

    As the number of samples grows, the usual gradient of the encoder drowns in noise. The doubly reparameterised
    gradient has the same expectation: the path through each latent is weighted by the square of its normalised weight,
    and log q(z|x) depends on the encoder through z alone.

    Arguments:
        samples: K, the number of latents per image.
        doubly_reparameterized: whether the encoder gets the doubly reparameterised gradient or the usual one; the
            gradient of the decoder is the same.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.objectives.rules`).

    References:
        Importance Weighted Autoencoders, Burda, Grosse and Salakhutdinov, 2016, equation 8
        (https://arxiv.org/abs/1509.00519). Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives,
        Tucker et al., 2019, equation 8 (https://arxiv.org/abs/1810.04152).
    """

    @checked
    def __init__(self, samples: int = 5, doubly_reparameterized: bool = True) -> None:
        self.samples, self.reparameterized = samples, doubly_reparameterized

    def __call__(self, draws: Draws, step: int) -> Terms:
        if self.reparameterized:
            log_weights = self._grouped(draws._replace(posterior=draws.posterior.detach()).log_weights())
            if draws.z.requires_grad:
                normalised = log_weights.detach().softmax(1).flatten(0, 1).unsqueeze(-1)
                # The gradient with respect to z already contains each weight once.
                draws.z.register_hook(lambda gradient: gradient * normalised)
        else:
            log_weights = self._grouped(draws.log_weights())
        bound: Tensor = math.log(self.samples) - log_weights.logsumexp(1)
        return Terms(bound, bound.new_zeros(()))

    def _grouped(self, log_weights: Tensor) -> Tensor:
        """Return the log-weights of the latents of each bound, ``(S / samples, samples, ..., B)``."""
        grouped: Tensor = log_weights.unflatten(0, (-1, self.samples))
        return grouped
