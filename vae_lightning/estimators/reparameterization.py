"""The pathwise gradient, by the reparameterization trick."""

from vae_lightning.estimators.estimator import Estimator

__all__ = ["Reparameterization"]


class Reparameterization(Estimator):
    r"""The gradient through the latents, deterministic functions of the posterior's parameters and external noise.

    .. math:: \nabla \mathbb{E}_q[f(z)] = \mathbb{E}_{\varepsilon}[\nabla f(z(\varepsilon))],
        \qquad z(\varepsilon) = \mu + \sigma \odot \varepsilon \text{ for a Gaussian}

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2014, section 2.4 (https://arxiv.org/abs/1312.6114).
    """

    reparameterized = True
