"""The importance-weighted bound."""

import math

from torch import Tensor

from vae_lightning.checks import IWAE as RULES
from vae_lightning.checks import check
from vae_lightning.objectives.draws import Draws
from vae_lightning.objectives.objective import Objective, Terms

__all__ = ["IWAE"]


class IWAE(Objective):
    r"""The negative importance-weighted bound of log p(x), tighter than the ELBO.

    .. math:: -\log \frac{1}{K} \sum_{k=1}^{K} w_k, \qquad w_k = \frac{p(x|z_k) \, p(z_k)}{q(z_k|x)}

    The more samples, the more the usual gradient for the encoder is drowned in noise. The doubly reparameterised one
    has the same expectation: each latent's path counts by the square of its normalised weight, and log q(z|x) depends
    on the encoder through z alone.

    Arguments:
        samples: K.
        doubly_reparameterized: which of the two gradients the encoder gets; the decoder's is the same.

    Raises:
        InputError: if an argument is not what :mod:`vae_lightning.checks` allows.

    References:
        Importance Weighted Autoencoders, Burda, Grosse and Salakhutdinov, 2016, equation 8
        (https://arxiv.org/abs/1509.00519). Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives,
        Tucker et al., 2019, equation 8 (https://arxiv.org/abs/1810.04152).
    """

    def __init__(self, samples: int = 5, doubly_reparameterized: bool = True) -> None:
        check({"samples": samples, "doubly_reparameterized": doubly_reparameterized}, RULES)
        self.samples, self.reparameterized = samples, doubly_reparameterized

    def __call__(self, draws: Draws, step: int) -> Terms:
        if self.reparameterized:
            log_weights = draws._replace(mu=draws.mu.detach(), logvar=draws.logvar.detach()).log_weights()
            if draws.z.requires_grad:
                normalised = log_weights.detach().softmax(0).unsqueeze(-1)
                # What comes back to z has each weight once already.
                draws.z.register_hook(lambda gradient: gradient * normalised)
        else:
            log_weights = draws.log_weights()
        bound: Tensor = math.log(self.samples) - log_weights.logsumexp(0)
        return Terms(bound, bound.new_zeros(()))
